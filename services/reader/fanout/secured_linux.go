package fanout

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livecomments/livecomments/services/shared/secure"
)

const (
	// recordBytes is the most that a TLS record holds (RFC 8446, section 5.1).
	recordBytes = 16 << 10
	// receivedBytes is how much is read of what a viewer sends after its request. One that is well sends a few bytes at its end, and
	// what is not read costs nothing.
	receivedBytes = 16 << 10
)

// secured is the socket for TLS. Its handshake was made before, and what is left is to encrypt and decrypt.
type secured struct {
	wire
	tls *tls.Conn
}

// newSecured puts the wire below connection, in place of what was there.
func newSecured(connection *tls.Conn, d descriptor) socket {
	s := &secured{wire{descriptor: d}, connection}
	connection.NetConn().(*secure.Conn).Conn = &s.wire //nolint:forcetypeassert // there was a socket in it
	return s
}

// write encrypts a record at a time, and none before the kernel has all of the one before: what it has taken it cannot take
// back, so this is all that a viewer that is behind costs.
func (s *secured) write(p []byte) (n int, err error) {
	if err := s.flush(); err != nil {
		return 0, err
	}
	for n < len(p) && len(s.pending) == 0 {
		taken, err := s.tls.Write(p[n:min(n+recordBytes, len(p))])
		if n += taken; err != nil {
			return n, err
		}
	}
	if len(s.pending) > 0 {
		return n, errWouldBlock
	}
	return n, nil
}

// watch asks for what the viewer sends too. Some may have come with the request, and is not told of.
func (s *secured) watch(token uint64) error {
	if err := s.poll(token, unix.EPOLLOUT|unix.EPOLLIN); err != nil {
		return err
	}
	return s.receive()
}

// receive reads for what TLS has to say: that the viewer takes leave, or new keys. What the viewer says is ignored.
func (s *secured) receive() error {
	for ignored := make([]byte, 64); ; {
		if _, err := s.tls.Read(ignored); errors.Is(err, errWouldBlock) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (s *secured) held() (held int, taken uint32) {
	held, taken = s.wire.held()
	return held + len(s.pending), taken
}

// close takes leave of a viewer that has everything.
func (s *secured) close(abort bool) {
	if !abort && len(s.pending) == 0 {
		_ = s.tls.CloseWrite()
	}
	s.wire.close(abort)
}

// wire is the connection below a tls.Conn: what that writes goes to the kernel, and waits here for what the kernel does not take.
type wire struct {
	descriptor
	pending  []byte
	received int
}

// Write takes all of p.
func (w *wire) Write(p []byte) (int, error) {
	if len(w.pending) > 0 {
		w.pending = append(w.pending, p...)
		return len(p), nil
	}
	left, err := w.give(p)
	if errors.Is(err, errWouldBlock) {
		w.pending, left, err = append(w.pending, left...), nil, nil
	}
	return len(p) - len(left), err
}

// give gives p to the kernel, and returns what that has not taken, and why.
func (w *wire) give(p []byte) (left []byte, err error) {
	for len(p) > 0 {
		n, err := w.write(p)
		if err != nil {
			return p, err
		}
		p = p[n:]
	}
	return nil, nil
}

func (w *wire) flush() (err error) {
	if len(w.pending) > 0 {
		w.pending, err = w.give(w.pending)
	}
	return err
}

// Read does not wait.
func (w *wire) Read(p []byte) (int, error) {
	if w.received >= receivedBytes {
		return 0, errWouldBlock
	}
	for {
		n, err := unix.Read(int(w.fd), p[:min(len(p), receivedBytes)])
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, errWouldBlock
		case err != nil:
			return 0, err
		case n == 0:
			return 0, io.EOF
		default:
			w.received += n
			return n, nil
		}
	}
}

// What a tls.Conn does not need of a connection that does not wait.

// Close leaves the socket to the stream.
func (w *wire) Close() error                     { return nil }
func (w *wire) LocalAddr() net.Addr              { return nil }
func (w *wire) RemoteAddr() net.Addr             { return nil }
func (w *wire) SetDeadline(time.Time) error      { return nil }
func (w *wire) SetReadDeadline(time.Time) error  { return nil }
func (w *wire) SetWriteDeadline(time.Time) error { return nil }
