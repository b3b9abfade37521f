package crowd

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// readBytes is the most that is read from a socket at a time.
	readBytes = 256 << 10
	// stalledBuffer is the size of stalled viewers' receive buffers, small so that they are soon full. Linux doubles it.
	stalledBuffer = 4 << 10
	// perAddress is how many viewers connect from one address.
	perAddress = 2000
	// pollMillis is how often the loop checks whether it is to stop.
	pollMillis = 50
)

// Crowd is the viewers of one reader. It is safe for concurrent use.
type Crowd struct {
	address unix.SockaddrInet4
	poll    int
	stop    chan struct{}
	stopped sync.WaitGroup

	mu       sync.Mutex
	members  []*member
	waiting  []*member // to connect
	inFlight int
	atOnce   int
	figures  Figures
	buffer   []byte
}

type member struct {
	Viewer
	stream
	fd    int
	index int
}

// New makes a crowd without viewers, for the reader at address, an IPv4 address and port. Close ends it.
func New(address string) (*Crowd, error) {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !at.Addr().Is4() {
		return nil, fmt.Errorf("the reader's address must be of the form 127.0.0.1:4000, not %q", address)
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	c := &Crowd{
		address: unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()},
		poll:    poll, stop: make(chan struct{}), buffer: make([]byte, readBytes), figures: Figures{Latency: newHistogram()},
	}
	c.stopped.Go(c.run)
	return c, nil
}

// Connect adds viewers, and has at most atOnce of them connect at a time. It does not wait for them.
func (c *Crowd) Connect(atOnce int, viewers ...Viewer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.atOnce = atOnce
	for _, viewer := range viewers {
		m := &member{Viewer: viewer, fd: -1, index: len(c.members)}
		c.members = append(c.members, m)
		c.waiting = append(c.waiting, m)
	}
	return c.connectWaiting()
}

// Await returns when done is true of the figures, or with ctx's error.
func (c *Crowd) Await(ctx context.Context, done func(Figures) bool) error {
	for {
		if done(c.Figures()) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

// Figures is what the viewers have seen since the last Reset.
func (c *Crowd) Figures() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	figures := c.figures
	figures.Latency = nil
	return figures
}

// Reset returns the figures and sets the counts of arrivals to zero. Connected, Refused and Failed stay.
func (c *Crowd) Reset() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	counted := c.figures
	c.figures = Figures{Connected: counted.Connected, Refused: counted.Refused, Failed: counted.Failed, Latency: newHistogram()}
	return counted
}

// Close closes all connections.
func (c *Crowd) Close() {
	close(c.stop)
	c.stopped.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, m := range c.members {
		if m.fd >= 0 {
			c.close(m)
		}
	}
	_ = unix.Close(c.poll)
}

func (c *Crowd) close(m *member) {
	_ = unix.Close(m.fd)
	m.fd, m.phase, m.partial = -1, over, nil
}

// connectWaiting opens connections until as many are under way as may be.
func (c *Crowd) connectWaiting() error {
	for len(c.waiting) > 0 && c.inFlight < c.atOnce {
		m := c.waiting[0]
		c.waiting = c.waiting[1:]
		if err := c.connect(m); err != nil {
			return err
		}
		c.inFlight++
	}
	return nil
}

func (c *Crowd) connect(m *member) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	m.fd = fd
	if m.Stalled {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, stalledBuffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := c.bind(m); err != nil {
		return err
	}
	if err := unix.Connect(fd, &c.address); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return c.await(m, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
}

// bind spreads viewers on the reader's own machine over several source addresses. The kernel searches for a free port in each,
// and when most of an address' ports are taken, that search takes milliseconds a connection.
func (c *Crowd) bind(m *member) error {
	if c.address.Addr[0] != 127 {
		return nil
	}
	from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + m.index/perAddress%250)}} //nolint:gosec // at most 250
	if err := unix.SetsockoptInt(m.fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("bind", unix.Bind(m.fd, &from))
}

func (c *Crowd) await(m *member, operation int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: int32(m.index)} //nolint:gosec // there are no more viewers than descriptors
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.poll, operation, m.fd, &event))
}

func (c *Crowd) run() {
	events := make([]unix.EpollEvent, 4096)
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		n, _ := unix.EpollWait(c.poll, events, pollMillis)
		if n <= 0 {
			continue
		}
		c.mu.Lock()
		for _, event := range events[:n] {
			if m := c.members[event.Fd]; m.fd >= 0 {
				c.handle(m)
			}
		}
		c.mu.Unlock()
	}
}

// handle reads from a member's socket, or sends its request, after epoll reported the socket.
func (c *Crowd) handle(m *member) {
	before := m.phase
	if m.phase == connecting {
		c.request(m)
	} else {
		c.read(m)
	}
	if before < watching && m.phase >= watching {
		c.inFlight--
		if c.connectWaiting() != nil {
			c.figures.Failed++
		}
		if m.phase == watching && m.Stalled && c.await(m, unix.EPOLL_CTL_DEL, 0) != nil {
			c.figures.Failed++
		}
	}
}

// request sends the request over a new connection.
func (c *Crowd) request(m *member) {
	get := fmt.Appendf(nil, "GET /connect?userid=viewer-%d&videoid=%s HTTP/1.1\r\nHost: reader\r\nAccept: text/event-stream\r\n\r\n", m.index, m.Video)
	if n, err := unix.Write(m.fd, get); err != nil || n < len(get) || c.await(m, unix.EPOLL_CTL_MOD, unix.EPOLLIN) != nil {
		c.lose(m, false)
		return
	}
	m.phase = awaiting
}

func (c *Crowd) read(m *member) {
	kept := copy(c.buffer, m.partial)
	n, err := unix.Read(m.fd, c.buffer[kept:])
	switch {
	case err == unix.EAGAIN || err == unix.EINTR:
		return
	case err != nil || n == 0:
		c.lose(m, err == nil && !m.chunked)
		return
	}
	arrived := c.figures.Arrived
	c.figures.arrival(&m.stream, c.buffer[:kept+n], kept, time.Now())
	if c.figures.Arrived > arrived {
		c.figures.Reads++
	}
	if m.phase == over {
		c.close(m)
	}
}

// lose closes a connection that the reader has ended. clean says that its body may end like this.
func (c *Crowd) lose(m *member, clean bool) {
	c.figures.end(&m.stream, clean)
	c.close(m)
}
