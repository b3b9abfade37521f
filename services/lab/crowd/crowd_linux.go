package crowd

import (
	"container/heap"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"net/url"
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
	// sources is over how many addresses of its own the viewers of a reader on this machine are spread.
	sources = 250
	// pollMillis is how often the loop checks whether it is to stop, and whose time to come back it is.
	pollMillis = 50
	// retryMillis is after how long a viewer comes back that was not told.
	retryMillis = 1000
)

// Crowd is viewers. It is safe for concurrent use.
type Crowd struct {
	name    uint32 // tells its viewers from those of other crowds
	poll    int
	stop    chan struct{}
	stopped sync.WaitGroup
	shaking sync.WaitGroup // hands, for TLS

	mu       sync.Mutex
	trust    *tls.Config // nil for plain HTTP
	doors    []*unix.SockaddrInet4
	members  []*member
	waiting  []*member // to connect for the first time
	back     []*member // to connect again
	away     away
	inFlight int
	atOnce   int
	figures  Figures
	buffer   []byte
}

type member struct {
	Viewer
	stream
	fd, index int32
	line      *line // nil for plain HTTP
}

// New makes a crowd without viewers, who will each connect to any of the doors: addresses of readers, IPv4 and port. Close ends
// it.
func New(doors ...string) (*Crowd, error) {
	c := &Crowd{name: rand.Uint32(), stop: make(chan struct{}), buffer: make([]byte, readBytes), figures: newFigures()}
	if err := c.SetDoors(doors...); err != nil {
		return nil, err
	}
	poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	c.poll = poll
	c.stopped.Go(c.run)
	return c, nil
}

// SetDoors changes the addresses for all who connect from now on.
func (c *Crowd) SetDoors(doors ...string) error {
	if len(doors) == 0 {
		return errors.New("a crowd needs the address of a reader")
	}
	addresses := make([]*unix.SockaddrInet4, len(doors))
	for i, door := range doors {
		address, err := parseAddress(door)
		if err != nil {
			return err
		}
		addresses[i] = address
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.doors = addresses
	return nil
}

func parseAddress(text string) (*unix.SockaddrInet4, error) {
	at, err := netip.ParseAddrPort(text)
	if err != nil || !at.Addr().Is4() {
		return nil, fmt.Errorf("the reader's address must be of the form 127.0.0.1:4000, not %q", text)
	}
	return &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}, nil
}

// SpeakTLS has all who connect from now on speak TLS with readers that they trust so.
func (c *Crowd) SpeakTLS(trust *tls.Config) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trust = trust
}

// Connect adds viewers, and has at most atOnce of all connect at a time. It does not wait for them. It returns the first error
// of the system; what happens to the others after that is in the figures.
func (c *Crowd) Connect(atOnce int, viewers ...Viewer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.atOnce = atOnce
	for _, viewer := range viewers {
		m := &member{Viewer: viewer, fd: -1, index: int32(len(c.members))} //nolint:gosec // there are no more viewers than descriptors
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
	return c.figures.counts()
}

// Reset returns the figures, and begins anew with the counts of arrivals and all times. The counts of viewers and connects stay.
func (c *Crowd) Reset() Figures {
	c.mu.Lock()
	defer c.mu.Unlock()
	counted := c.figures
	c.figures = counted.afterReset()
	return counted
}

// Close closes all connections.
func (c *Crowd) Close() {
	close(c.stop)
	c.stopped.Wait()
	c.shaking.Wait()
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
	_ = unix.Close(int(m.fd))
	m.fd, m.line, m.phase, m.partial = -1, nil, over, nil
}

// connectWaiting opens connections until as many are under way as may be. Those come first that have been here before: they must
// not wait for all who are new. It returns the first error.
func (c *Crowd) connectWaiting() (first error) {
	for c.inFlight < c.atOnce {
		m := c.next()
		if m == nil {
			break
		}
		m.connect(time.Now())
		if err := c.dial(m, c.doors[rand.IntN(len(c.doors))]); err != nil {
			c.fail(m)
			c.leave(m)
			if first == nil {
				first = err
			}
			continue
		}
		c.inFlight++
	}
	return first
}

// next takes the viewer that is to connect next, nil where there is none.
func (c *Crowd) next() (m *member) {
	queue := &c.back
	if len(c.back) == 0 {
		queue = &c.waiting
	}
	if len(*queue) == 0 {
		return nil
	}
	m, *queue = (*queue)[0], (*queue)[1:]
	return m
}

// fail notes that a viewer could not connect.
func (c *Crowd) fail(m *member) {
	c.figures.Failed++
	if m.fd >= 0 {
		c.close(m)
	}
	m.phase = over
}

// leave has a viewer that has no stream any more come back when it is time, if it is one that does.
func (c *Crowd) leave(m *member) {
	if !m.Returning {
		return
	}
	wait := int64(m.retry)
	if wait == 0 {
		wait = retryMillis
	}
	m.began = time.Now().UnixNano() + wait*int64(time.Millisecond)
	heap.Push(&c.away, m)
}

// comeBack has those connect again whose time it is.
func (c *Crowd) comeBack() {
	for now := time.Now().UnixNano(); len(c.away) > 0 && c.away[0].began <= now; {
		c.back = append(c.back, heap.Pop(&c.away).(*member)) //nolint:forcetypeassert // there is nothing else in it
	}
	_ = c.connectWaiting() // it is in the figures
}

// away are viewers that will come back, as a heap: the first has the earliest time.
type away []*member

func (a away) Len() int           { return len(a) }
func (a away) Less(i, j int) bool { return a[i].began < a[j].began }
func (a away) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *away) Push(m any)        { *a = append(*a, m.(*member)) } //nolint:forcetypeassert // of heap.Push
func (a *away) Pop() any {
	last := len(*a) - 1
	m := (*a)[last]
	(*a)[last] = nil
	*a = (*a)[:last]
	return m
}

// dial begins a connection to a reader.
func (c *Crowd) dial(m *member, address *unix.SockaddrInet4) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	m.fd = int32(fd) //nolint:gosec // a descriptor
	if m.Stalled {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, stalledBuffer); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	if err := bind(fd, address); err != nil {
		return err
	}
	if err := unix.Connect(fd, address); err != nil && err != unix.EINPROGRESS {
		return os.NewSyscallError("connect", err)
	}
	return c.await(m, unix.EPOLL_CTL_ADD, unix.EPOLLOUT)
}

// bind spreads the viewers of a reader on their own machine over many source addresses. The kernel searches for a free port in
// each, and when most of an address' ports are taken, that search takes milliseconds a connection.
func bind(fd int, to *unix.SockaddrInet4) error {
	if to.Addr[0] != 127 {
		return nil
	}
	from := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + rand.IntN(sources))}} //nolint:gosec // at most 250
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("bind", unix.Bind(fd, &from))
}

func (c *Crowd) await(m *member, operation int, events uint32) error {
	event := unix.EpollEvent{Events: events, Fd: m.index}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(c.poll, operation, int(m.fd), &event))
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
		c.mu.Lock()
		for _, event := range events[:max(0, n)] {
			if m := c.members[event.Fd]; m.fd >= 0 {
				c.handle(m)
			}
		}
		c.comeBack()
		c.mu.Unlock()
	}
}

// handle reads from a member's socket, or sends its request, after epoll reported the socket.
func (c *Crowd) handle(m *member) {
	before := m.phase
	switch {
	case m.phase == connecting && c.trust != nil && m.line == nil:
		c.shakeHands(m)
	case m.phase == connecting:
		c.request(m)
	default:
		c.read(m)
	}
	c.settle(m, before)
}

// settle does what follows from what a member has come to.
func (c *Crowd) settle(m *member, before phase) {
	if m.phase == sentOn {
		c.follow(m)
	}
	if before < watching && m.phase >= watching {
		c.inFlight--
		if m.phase == watching && m.Stalled && c.await(m, unix.EPOLL_CTL_DEL, 0) != nil {
			c.figures.Failed++
		}
	}
	if m.phase == over {
		c.leave(m)
	}
}

// request sends the request over a new connection.
func (c *Crowd) request(m *member) {
	path := m.location
	if !m.redirected {
		path = fmt.Sprintf("/connect?userid=viewer-%x-%d&videoid=%s", c.name, m.index, m.Video)
	}
	get := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: reader\r\nAccept: text/event-stream\r\n", path)
	if m.positioned {
		get = fmt.Appendf(get, "Last-Event-ID: %s\r\n", m.position)
	}
	get = append(get, "\r\n"...)
	if n, err := m.write(get); err != nil || n < len(get) || c.await(m, unix.EPOLL_CTL_MOD, unix.EPOLLIN) != nil {
		c.lose(m, false)
		return
	}
	m.phase, m.location = awaiting, ""
}

// follow goes on where a redirect has sent a viewer.
func (c *Crowd) follow(m *member) {
	address, path, err := parseLocation(m.location)
	c.close(m)
	if err == nil {
		m.phase, m.redirected, m.location = connecting, true, path
		err = c.dial(m, address)
	}
	if err != nil {
		c.fail(m)
		return
	}
	c.figures.Redirects++
}

// parseLocation takes apart where a redirect leads to: a URL of the form http://127.0.0.1:4001/connect?query.
func parseLocation(location string) (address *unix.SockaddrInet4, path string, err error) {
	to, err := url.Parse(location)
	if err != nil {
		return nil, "", err
	}
	if to.Scheme != "http" {
		return nil, "", fmt.Errorf("a crowd speaks no %s", to.Scheme)
	}
	address, err = parseAddress(to.Host)
	return address, to.RequestURI(), err
}

// read takes what has come for a member. A read of TLS is a record, of which more may have come than epoll tells of.
func (c *Crowd) read(m *member) {
	for c.readOnce(m) && m.line != nil && m.phase != sentOn && m.phase != over {
	}
}

// readOnce reports whether something had come.
func (c *Crowd) readOnce(m *member) bool {
	kept := copy(c.buffer, m.partial)
	n, err := m.read(c.buffer[kept:])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return false
	case err != nil || n == 0:
		c.lose(m, err == nil && !m.chunked)
		return false
	}
	arrived := c.figures.Arrived
	c.figures.arrival(&m.stream, c.buffer[:kept+n], kept, time.Now())
	if c.figures.Arrived > arrived {
		c.figures.Reads++
	}
	if m.phase == over {
		c.close(m)
	}
	return true
}

// lose closes a connection that the reader has ended. clean says that its body may end like this.
func (c *Crowd) lose(m *member, clean bool) {
	c.figures.end(&m.stream, clean, time.Now())
	c.close(m)
}
