package server_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/descriptor"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// held are streams that stay open.
type held struct {
	open        atomic.Int64
	connections sync.Map
}

func (h *held) Open() int                 { return int(h.open.Load()) }
func (h *held) Drain()                    {}
func (h *held) Await(context.Context) int { return 0 }

// serveAsChild is the process of startWithFewDescriptors. It tells its address on standard output.
func serveAsChild() int {
	cfg := settings{Server: server.Config{IdleTimeout: time.Hour, StopTimeout: time.Second, BodyLimit: 100, CORSOrigins: []string{"*"}}}
	cfg.Server.Log.LogLevel, cfg.Server.Log.LogFormat = "warn", "json"
	var err error
	if cfg.Server.Listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	srv, err := server.New("child", 1, cfg.Server)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	streams := &held{}
	srv.SetStreams(streams)
	most := descriptor.Share(descriptor.Limit()).Streams
	srv.Engine.GET("/stream", func(c *gin.Context) {
		if streams.open.Add(1) > int64(most) {
			streams.open.Add(-1)
			server.Fail(c, http.StatusServiceUnavailable, "full")
			return
		}
		connection, _, err := c.Writer.Hijack()
		if err == nil {
			streams.connections.Store(connection, true) // else it would be closed with the garbage
			_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\n\r\n")
		}
	})
	srv.Engine.GET("/wait", func(c *gin.Context) { <-c.Request.Context().Done() })
	srv.Engine.GET("/quick", func(c *gin.Context) { c.String(http.StatusOK, "done") })
	srv.Ready()
	fmt.Println("http://" + cfg.Server.Listener.Addr().String())
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	_ = srv.Run(ctx)
	return 0
}

// few is how many descriptors the processes of these tests may have.
const few = 48

// startWithFewDescriptors runs a server in a process of its own.
func startWithFewDescriptors(t *testing.T) (s *servertest.Service, log func() string) {
	t.Helper()
	child := exec.Command("sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$0"`, few), os.Args[0])
	child.Env = append(os.Environ(), "SERVE_AS_CHILD=1")
	var stderr bytes.Buffer
	child.Stderr = &stderr
	stdout, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	end := func() string {
		if child.ProcessState == nil {
			_ = child.Process.Signal(syscall.SIGTERM)
			_ = child.Wait()
		}
		return stderr.String()
	}
	t.Cleanup(func() { end() })
	address, err := bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	return &servertest.Service{URL: strings.TrimSpace(address)}, end
}

// open sends a request over a connection that is left open. status waits for its answer; it is 0 when the connection ends
// without.
func open(t *testing.T, s *servertest.Service, path string) (status func() int) {
	t.Helper()
	connection := dial(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	return func() int {
		response, err := http.ReadResponse(bufio.NewReader(connection), nil)
		if err != nil {
			return 0
		}
		return response.StatusCode
	}
}

func probesAreAnswered(t *testing.T, s *servertest.Service) {
	t.Helper()
	for range 5 {
		for _, path := range []string{"/livez", "/readyz", "/metrics"} {
			assert.Equal(t, 200, s.Status(path), path)
		}
	}
}

func TestProbesAreAnsweredWhereDescriptorsAreFew(t *testing.T) {
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell here")
	}
	budget := descriptor.Share(few)

	t.Run("with many connections that wait for their next request", func(t *testing.T) {
		s, log := startWithFewDescriptors(t)
		for range 3 * few {
			assert.Equal(t, 200, open(t, s, "/quick")())
		}
		probesAreAnswered(t, s)
		assert.Equal(t, 200, s.Status("/quick"), "and so are others, because those that wait are closed")
		assert.LessOrEqual(t, strings.Count(log(), "\n"), 1, "the log is not flooded")
	})
	t.Run("with many connections that never send a request", func(t *testing.T) {
		s, log := startWithFewDescriptors(t)
		for range 3 * few {
			dial(t, s, "GET /quick HT")
		}
		probesAreAnswered(t, s)
		assert.LessOrEqual(t, strings.Count(log(), "\n"), 1, "the log is not flooded")
	})
	t.Run("with many requests under way", func(t *testing.T) {
		s, log := startWithFewDescriptors(t)
		statuses := make(chan int, 60)
		for range cap(statuses) {
			answer := open(t, s, "/wait")
			go func() { statuses <- answer() }()
		}
		for range cap(statuses) - budget.Connections {
			assert.Equal(t, 503, <-statuses, "what is too much is refused and not left hanging")
		}
		probesAreAnswered(t, s)
		assert.Equal(t, 503, s.Status("/quick"))
		assert.Empty(t, statuses, "the others are under way")
		assert.Equal(t, 1, strings.Count(log(), "ulimit -n"), "one warning")
		for range budget.Connections {
			assert.Equal(t, 0, <-statuses, "cut with the server")
		}
	})
	t.Run("with all streams that there may be", func(t *testing.T) {
		s, _ := startWithFewDescriptors(t)
		statuses := map[int]int{}
		for range 60 {
			statuses[open(t, s, "/stream")()]++
		}
		assert.Equal(t, map[int]int{200: budget.Streams, 503: 60 - budget.Streams}, statuses, "each is answered")
		probesAreAnswered(t, s)
		assert.Equal(t, 200, s.Status("/quick"))
	})
}

func TestAConnectionOutlivesThoseOfLoadBalancers(t *testing.T) {
	defaults := servertest.Defaults(t, func(*settings) {})
	assert.Greater(t, defaults.Server.IdleTimeout, 600*time.Second, "which is what Google's load balancer keeps")

	s := start(t, func(cfg *settings) { cfg.Server.IdleTimeout = 20 * time.Millisecond })
	connection := dial(t, s, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
	answers := bufio.NewReader(connection)
	response, err := http.ReadResponse(answers, nil)
	require.NoError(t, err)
	assert.False(t, response.Close)
	_, err = io.Copy(io.Discard, response.Body)
	require.NoError(t, err)
	_, err = answers.ReadByte()
	assert.Equal(t, io.EOF, err, "closed after the timeout, and not before the answer")
}
