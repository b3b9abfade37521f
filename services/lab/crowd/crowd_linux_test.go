package crowd_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// await returns what the viewers have seen when done is true of it.
func await(t *testing.T, c *crowd.Crowd, done func(crowd.Figures) bool) crowd.Figures {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, c.Await(ctx, done), "%+v", c.Figures())
	return c.Figures()
}

func event(n uint64) string {
	return "id: 1-0\ndata: {\"comment\":\"" + crowd.Text(n, time.Now(), 60) + "\"}\n\n"
}

const connected = "id: 0-0\ndata: {}\n\n"

// chunked sends a stream of two comments, which net/http puts into chunks, and keeps it open.
func chunked(w http.ResponseWriter, leave <-chan struct{}) {
	for _, e := range []string{connected, event(1), event(2)} {
		_, _ = io.WriteString(w, e)
		_ = http.NewResponseController(w).Flush()
	}
	<-leave
}

// unframed sends the same without chunks.
func unframed(w http.ResponseWriter, leave <-chan struct{}) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\n\r\n"+connected+event(1)+event(2))
	<-leave
	_ = connection.Close()
}

func TestACrowdWatchesOverRealConnections(t *testing.T) {
	const viewers = 300
	for name, test := range map[string]struct {
		serve   func(http.ResponseWriter, <-chan struct{})
		unclean uint64
	}{
		"chunks, to the last": {chunked, 0},
		"chunks, cut off": {func(w http.ResponseWriter, leave <-chan struct{}) {
			chunked(w, leave)
			panic(http.ErrAbortHandler)
		}, viewers},
		"no chunks": {unframed, 0},
	} {
		t.Run(name, func(t *testing.T) {
			leave := make(chan struct{})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { test.serve(w, leave) }))
			defer server.Close()
			c, err := crowd.New(server.Listener.Addr().String())
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.Connect(50, make([]crowd.Viewer, viewers)...))
			f := await(t, c, func(f crowd.Figures) bool { return f.Arrived == 2*viewers })
			assert.Zero(t, f.Wrong())
			close(leave)
			f = await(t, c, func(f crowd.Figures) bool { return f.Connected == 0 })
			assert.Equal(t, crowd.Figures{Arrived: 2 * viewers, Reads: f.Reads, Unclean: test.unclean}, f)
		})
	}
}

func TestACrowdWatchesOverTLS(t *testing.T) {
	const viewers = 50
	leave := make(chan struct{})
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { chunked(w, leave) }))
	defer server.Close()
	c, err := crowd.New(server.Listener.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	trust := server.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	trust.ServerName = "example.com"
	c.SpeakTLS(trust)
	require.NoError(t, c.Connect(10, make([]crowd.Viewer, viewers)...))
	f := await(t, c, func(f crowd.Figures) bool { return f.Arrived == 2*viewers })
	assert.Zero(t, f.Wrong())
	close(leave)
	f = await(t, c, func(f crowd.Figures) bool { return f.Connected == 0 })
	assert.Zero(t, f.Unclean)
}
