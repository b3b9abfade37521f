// The Statistics API gathers every part's figures and serves them.
package main

import (
	"os"

	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/statistics/api"
)

func main() { os.Exit(server.Main("statistics", api.Run)) }
