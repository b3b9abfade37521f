// The Client is a fleet of simulated viewers, who post, watch and check what they get.
package main

import (
	"os"

	"github.com/livecomments/livecomments/services/client/fleet"
	"github.com/livecomments/livecomments/services/shared/server"
)

func main() { os.Exit(server.Main("client", fleet.Run)) }
