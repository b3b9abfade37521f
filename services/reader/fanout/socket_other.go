//go:build !linux

package fanout

import "net"

func newSocket(connection net.Conn, w *writer) socket {
	return &piecewise{connection: connection, writer: w}
}

// idle is the poller where sockets signal by themselves.
type idle struct{}

func newPoller() (poller, error) { return idle{}, nil }
func (idle) run(func(...signal)) {}
func (idle) close()              {}
