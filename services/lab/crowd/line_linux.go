package crowd

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/livecomments/livecomments/services/shared/secure"
)

// handshakeTimeout is how long the handshake of a viewer may take.
const handshakeTimeout = 30 * time.Second

// line is a member's end of TLS. Below it is the member's socket, of which reads do not wait.
type line struct {
	*tls.Conn
	below below
}

// below is the connection below a tls.Conn, as far as that needs one.
type below struct {
	net.Conn
	fd int
}

// errNothing is that there is nothing to read. It is a [net.Error], so that crypto/tls takes it for one that passes.
var errNothing net.Error = nothing{}

type nothing struct{}

func (nothing) Error() string   { return "there is nothing to read" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

func (b *below) Read(p []byte) (int, error) {
	n, err := unix.Read(b.fd, p)
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return 0, errNothing
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

func (b *below) Write(p []byte) (int, error) { return unix.Write(b.fd, p) }

// shakeHands makes a member's handshake, and then sends its request. crypto/tls would wait in it, so it has a goroutine of its own.
func (c *Crowd) shakeHands(m *member) {
	trust, fd := c.trust, int(m.fd)
	if c.await(m, unix.EPOLL_CTL_DEL, 0) != nil {
		c.lose(m, false)
		return
	}
	c.shaking.Go(func() {
		made, err := handshake(fd, trust)
		c.mu.Lock()
		defer c.mu.Unlock()
		before := m.phase
		m.line = made
		if err != nil || c.await(m, unix.EPOLL_CTL_ADD, unix.EPOLLIN) != nil {
			c.lose(m, false)
		} else {
			c.request(m)
		}
		c.settle(m, before)
	})
}

// handshake returns the line over a connected socket, which stays the caller's.
func handshake(fd int, trust *tls.Config) (*line, error) {
	double, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(double), "viewer")
	connection, err := net.FileConn(file)
	_ = file.Close()
	if err != nil {
		return nil, err
	}
	defer func() { _ = connection.Close() }()
	if err := connection.SetDeadline(time.Now().Add(handshakeTimeout)); err != nil {
		return nil, err
	}
	under := &secure.Conn{Conn: connection}
	made := &line{tls.Client(under, trust), below{fd: fd}}
	if err := made.Handshake(); err != nil {
		return nil, err
	}
	under.Conn = &made.below
	return made, nil
}

func (m *member) write(p []byte) (int, error) {
	if m.line != nil {
		return m.line.Write(p)
	}
	return unix.Write(int(m.fd), p)
}

// read reads from the socket, or over TLS a record. Its errors are those of the system call.
func (m *member) read(p []byte) (int, error) {
	if m.line == nil {
		return unix.Read(int(m.fd), p)
	}
	n, err := m.line.Read(p)
	switch {
	case errors.Is(err, errNothing):
		return n, unix.EAGAIN
	case errors.Is(err, io.EOF):
		return n, nil
	}
	return n, err
}
