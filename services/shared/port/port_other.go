//go:build !linux

package port

import "net"

// Reserve finds a free port. Outside Linux nothing keeps it until a server listens at it.
func Reserve() (*Reservation, error) {
	listener, err := net.Listen("tcp4", ":0")
	if err != nil {
		return nil, err
	}
	return &Reservation{Number: listener.Addr().(*net.TCPAddr).Port, release: func() {}}, listener.Close()
}
