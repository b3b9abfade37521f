package server

import (
	"container/list"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/descriptor"
	"github.com/livecomments/livecomments/services/shared/secure"
)

const (
	// grace is how long a connection may wait for a request in any case: its client may be about to send one.
	grace = 250 * time.Millisecond
	// acceptPause is how long to wait for a descriptor when there is none for a connection.
	acceptPause = 5 * time.Millisecond
	// warnInterval is the least time between two warnings that descriptors are short.
	warnInterval = time.Minute
)

// connections are those of clients that belong to HTTP, and not to a stream. Together with the streams they must stay
// within the budget of descriptors, so that probes are accepted and answered. When it is nearly used up, an answer ends its
// connection. When it is used up, connections that wait for a request are closed, those that wait longest first, and further
// requests are refused.
type connections struct {
	log     *zap.Logger
	budget  descriptor.Budget
	streams func() int

	mu       sync.Mutex
	open     map[net.Conn]*list.Element // nil while a request is under way
	waiting  list.List                  // of waiting, in the order of since
	requests int                        // under way, of those that may be refused
	warned   time.Time
}

type waiting struct {
	connection net.Conn
	since      time.Time
}

func newConnections(log *zap.Logger, streams func() int) *connections {
	return &connections{
		log: log, streams: streams, budget: descriptor.Share(descriptor.Limit()), open: map[net.Conn]*list.Element{},
	}
}

// changed is the ConnState hook of an http.Server.
func (c *connections) changed(connection net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.open[connection] = c.wait(connection)
		c.closeExcess()
	case http.StateIdle:
		if _, open := c.open[connection]; open {
			c.open[connection] = c.wait(connection)
		}
	case http.StateActive:
		if element := c.open[connection]; element != nil {
			c.waiting.Remove(element)
			c.open[connection] = nil
		}
	case http.StateHijacked, http.StateClosed:
		c.forget(connection)
	}
}

// count is how many there are.
func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

func (c *connections) wait(connection net.Conn) *list.Element {
	return c.waiting.PushBack(waiting{connection, time.Now()})
}

func (c *connections) forget(connection net.Conn) {
	if element := c.open[connection]; element != nil {
		c.waiting.Remove(element)
	}
	delete(c.open, connection)
}

// closeExcess closes what waits until everything is within the budget.
func (c *connections) closeExcess() {
	for len(c.open)+c.streams() > c.budget.Connections {
		if !c.closeOne() {
			return
		}
	}
}

// closeOne closes the connection that has waited longest for a request. It returns whether there was one.
func (c *connections) closeOne() bool {
	front := c.waiting.Front()
	if front == nil {
		return false
	}
	longest := front.Value.(waiting) //nolint:forcetypeassert // there is nothing else in this list
	if time.Since(longest.since) < grace {
		return false
	}
	c.forget(longest.connection)
	// One that speaks TLS is closed below it: a farewell could have to wait for the client.
	_ = secure.Below(longest.connection).Close()
	return true
}

// warn tells the operator that descriptors are short, once in a while.
func (c *connections) warn() {
	if time.Since(c.warned) < warnInterval {
		return
	}
	c.warned = time.Now()
	c.log.Warn("clients have as many connections as the file descriptors of this process allow (ulimit -n); further requests are answered 503",
		zap.Int("connections", len(c.open)), zap.Int("streams", c.streams()), zap.Int("most", c.budget.Connections))
}

// limit answers 503 to requests beyond the budget. What probes and metrics ask is always answered.
func (c *connections) limit(g *gin.Context) {
	switch g.FullPath() {
	case "/livez", "/readyz", "/health", "/metrics":
		return
	}
	refused, short := c.begin()
	if short {
		g.Header("Connection", "close")
	}
	if refused {
		g.Header("Retry-After", "1")
		Fail(g, http.StatusServiceUnavailable, "this server has as many connections as it may; try again")
		return
	}
	defer c.end()
	g.Next()
}

// begin counts a request that begins, unless it must be refused. Where descriptors are short, its connection should end
// with its answer.
func (c *connections) begin() (refused, short bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	streams := c.streams()
	if c.requests+streams >= c.budget.Connections {
		c.warn()
		return true, true
	}
	c.requests++
	nearlyAll := c.budget.Streams + (c.budget.Connections-c.budget.Streams)/2
	return false, len(c.open)+streams > nearlyAll
}

func (c *connections) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests--
}

// patientListener waits where the process or the system has no descriptor for a connection, instead of an error.
type patientListener struct {
	net.Listener
	connections *connections
}

func (l patientListener) Accept() (net.Conn, error) {
	for {
		connection, err := l.Listener.Accept()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return connection, err
		}
		l.connections.mu.Lock()
		l.connections.closeOne()
		l.connections.warn()
		l.connections.mu.Unlock()
		time.Sleep(acceptPause)
	}
}
