// Package secure has a listener speak TLS, with a certificate that is read from files, and read again when they change.
package secure

import (
	"crypto/tls"
	"net"
)

// Listen has connections that listener accepts speak TLS: HTTP/1.1 over TLS 1.2 or later, with the certificate as it is at
// the time. The handshake is made with the first read.
func Listen(listener net.Listener, certificate *Certificate) net.Listener {
	return &secured{listener, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return certificate.current.Load(), nil
		},
		// A write is one record, so that a bound on records is one on writes.
		DynamicRecordSizingDisabled: true,
	}}
}

type secured struct {
	net.Listener
	config *tls.Config
}

func (s *secured) Accept() (net.Conn, error) {
	connection, err := s.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&Conn{connection}, s.config), nil
}

// Conn is the connection below a tls.Conn, which its NetConn returns. After the handshake another may be put in its place, by
// who has the tls.Conn to itself.
type Conn struct{ net.Conn }

// Below is the connection below one that a listener of [Listen] has accepted, and of any other connection itself.
func Below(connection net.Conn) net.Conn {
	if above, ok := connection.(*tls.Conn); ok {
		if below, ok := above.NetConn().(*Conn); ok {
			return below.Conn
		}
	}
	return connection
}
