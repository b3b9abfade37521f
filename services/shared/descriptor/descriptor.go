// Package descriptor shares out the file descriptors that the process may have. Each connection needs one, and a process
// that has none left can neither accept a probe nor reach Redis.
package descriptor

import "math"

// Budget says for what the descriptors of a process are used.
type Budget struct {
	// Connections is how many connections clients may have at once, streams included. The other descriptors are the
	// process's own: listeners, epolls, connections to Redis and to other services, name lookups.
	Connections int
	// Streams is how many of these connections may be event streams. The others are for requests, probes and connections
	// between two requests.
	Streams int
}

const (
	// own is enough for a pool of 10 connections to Redis a core, on a machine with 8.
	own = 120
	// requests is enough where nearly all connections are streams.
	requests = 64
)

// Share is the budget of a process that may have limit descriptors. Where there are few, a third goes to each of the
// process itself, requests and streams.
func Share(limit int) Budget {
	connections := limit - min(limit/3, own)
	return Budget{Connections: connections, Streams: connections - min(connections/2, requests)}
}

// Limit is how many descriptors this process may have: RLIMIT_NOFILE, which ulimit -n shows. It is [math.MaxInt] where
// there is no limit, and where the system does not tell.
func Limit() int {
	if limit := softLimit(); limit < math.MaxInt {
		return int(limit)
	}
	return math.MaxInt
}
