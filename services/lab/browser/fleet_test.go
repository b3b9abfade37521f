package browser_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	readerapi "github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// asReader has this program be a reader, so that a test can kill one.
const asReader = "LIVECOMMENTS_TEST_READER"

func runAsReader() {
	if os.Getenv(asReader) != "" {
		os.Exit(server.Main("reader", readerapi.Run))
	}
}

// reader is a reader in a process of its own. It has the same address whenever it is started.
type reader struct {
	servertest.Service
	t           *testing.T
	name        string
	environment []string
	process     *exec.Cmd
}

// newFleet makes readers, and starts none. They are in the order in which the viewers of the video demo belong to them, as far
// as they run.
func newFleet(t *testing.T, redis *brokertest.Redis, routing string, settings ...string) []*reader {
	t.Helper()
	names := []string{"reader-1", "reader-2", "reader-3", "reader-4"}
	strategy, err := placement.New(placement.Name(routing), placement.Options{VirtualNodes: 160, Epsilon: 0.25}, names)
	require.NoError(t, err)
	var fleet []*reader
	for candidate := range strategy.Candidates(placement.VideoOf("demo")).All() {
		fleet = append(fleet, newReader(t, names[candidate], append(settings, "ROUTING="+routing, "REDIS_URL="+redis.URL())))
	}
	return fleet
}

func newReader(t *testing.T, name string, settings []string) *reader {
	t.Helper()
	reserved, err := port.Reserve()
	require.NoError(t, err)
	t.Cleanup(reserved.Release)
	r := &reader{t: t, name: name}
	r.URL = "http://" + reserved.Address()
	if slices.ContainsFunc(settings, func(setting string) bool { return strings.HasPrefix(setting, "TLS_CERT_FILE=") }) {
		r.URL = "https://" + reserved.Address()
	}
	r.environment = append(os.Environ(), asReader+"=true", fmt.Sprint("PORT=", reserved.Number), "ADVERTISE_URL="+r.URL, "INSTANCE_ID="+name,
		"STATISTICS_API_URL=", "LOG_LEVEL=error", "RETRY=200ms", "DRAIN_PERIOD=200ms", "MOVE_RATE=1")
	r.environment = append(r.environment, settings...)
	t.Cleanup(func() { r.end(syscall.SIGKILL) })
	return r
}

func (r *reader) start() {
	r.t.Helper()
	r.process = exec.Command(os.Args[0])
	r.process.Env, r.process.Stderr = r.environment, os.Stderr
	require.NoError(r.t, r.process.Start())
	r.AwaitReady(r.t)
}

// end sends the process a signal that ends it, and returns how it has ended.
func (r *reader) end(with syscall.Signal) string {
	if r.process == nil {
		return ""
	}
	_ = r.process.Process.Signal(with)
	_ = r.process.Wait()
	ended := r.process.ProcessState.String()
	r.process = nil
	return ended
}

// awaitViewers returns when the reader has n viewers.
func (r *reader) awaitViewers(n int) {
	r.t.Helper()
	r.await("livecomments_reader_connections", n)
}

// await returns when a figure of the reader has a value.
func (r *reader) await(figure string, value any) {
	r.t.Helper()
	line := fmt.Sprintf("\n%s %v\n", figure, value)
	require.Eventually(r.t, func() bool {
		return strings.Contains(servertest.Do(r.t, http.MethodGet, r.URL+"/metrics", "").Body, line)
	}, time.Minute, 50*time.Millisecond, "%s does not say %s", r.name, line)
}

// redirect is where the reader sends a viewer with such a header.
func (r *reader) redirect(header ...string) string {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, r.URL+"/connect?userid=me&videoid=demo", nil)
	require.NoError(r.t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(request)
	require.NoError(r.t, err)
	require.NoError(r.t, response.Body.Close())
	require.Equal(r.t, http.StatusTemporaryRedirect, response.StatusCode)
	return response.Header.Get("Location")
}

// poster posts comments to the video demo until it is stopped: "1", "2", "3" ...
type poster struct {
	posted atomic.Int64
	stop   func()
}

func startPoster(t *testing.T, redis *brokertest.Redis) *poster {
	t.Helper()
	b, err := broker.Open(servertest.Defaults(t, func(cfg *broker.Config) { cfg.RedisURL = redis.URL() }), servertest.Logger(t, "poster"))
	require.NoError(t, err)
	p := &poster{}
	ctx, cancel := context.WithCancel(context.Background())
	var posting sync.WaitGroup
	posting.Go(func() {
		ticker := time.NewTicker(20 * time.Millisecond)
		defer ticker.Stop()
		for ctx.Err() == nil {
			<-ticker.C
			text := strconv.FormatInt(p.posted.Load()+1, 10)
			post := comment.Comment{UserID: "you", VideoID: "demo", Text: text, Timestamp: time.Now().UTC()}
			// Not with ctx: of a publish that is given up nobody knows whether it has happened.
			if _, err := b.Publish(context.Background(), post); err != nil {
				t.Errorf("comment %s is not posted: %s", text, err)
				return
			}
			p.posted.Add(1)
		}
	})
	p.stop = sync.OnceFunc(func() { cancel(); posting.Wait(); _ = b.Close() })
	t.Cleanup(p.stop)
	return p
}

// line is what a page logs of a comment.
func line(number int64) string { return fmt.Sprint("you ", number) }

// awaitFlow returns when each of the pages has logged a comment that was posted after the call.
func (p *poster) awaitFlow(t *testing.T, pages ...*tab) {
	t.Helper()
	next := line(p.posted.Load() + 1)
	for _, page := range pages {
		page.await(t, next)
	}
}
