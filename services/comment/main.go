// The Comment API takes comments and hands them to Redis.
package main

import (
	"os"

	"github.com/livecomments/livecomments/services/comment/api"
	"github.com/livecomments/livecomments/services/shared/server"
)

func main() { os.Exit(server.Main("comment", api.Run)) }
