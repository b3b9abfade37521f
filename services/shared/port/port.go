// Package port reserves TCP ports for servers in other processes that must be told one, and cannot say which they were given.
package port

import (
	"net"
	"strconv"
)

// Reservation is a port that is kept for whoever knows its number.
type Reservation struct {
	Number  int
	release func()
}

// Address is the port on this machine, as host:port.
func (r *Reservation) Address() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(r.Number)) }

// Release ends the reservation. A server that listens at the port goes on listening.
func (r *Reservation) Release() { r.release() }
