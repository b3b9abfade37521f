// The Reader API holds the viewers' streams and fans comments out to them.
package main

import (
	"os"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/server"
)

func main() { os.Exit(server.Main("reader", api.Run)) }
