package up_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/client/fleet"
	commentapi "github.com/livecomments/livecomments/services/comment/api"
	readerapi "github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
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

// readerProcess is a reader in a process of its own. It has the same address whenever it is started.
type readerProcess struct {
	servertest.Service
	t           *testing.T
	environment []string
	process     *exec.Cmd
}

func startReaderProcess(t *testing.T, redis *brokertest.Redis, name string) *readerProcess {
	t.Helper()
	reserved, err := port.Reserve()
	require.NoError(t, err)
	t.Cleanup(reserved.Release)
	r := &readerProcess{t: t, environment: append(os.Environ(), asReader+"=true", fmt.Sprint("PORT=", reserved.Number),
		"INSTANCE_ID="+name, "REDIS_URL="+redis.URL(), "STATISTICS_API_URL=", "LOG_LEVEL=error", "DRAIN_PERIOD=200ms", "RETRY=100ms")}
	r.URL = "http://" + reserved.Address()
	r.start()
	t.Cleanup(func() { _ = r.end(syscall.SIGKILL) })
	return r
}

func (r *readerProcess) start() {
	r.t.Helper()
	r.process = exec.Command(os.Args[0])
	r.process.Env, r.process.Stderr = r.environment, os.Stderr
	require.NoError(r.t, r.process.Start())
	r.AwaitReady(r.t)
}

// end sends the process a signal that ends it, and returns how it has ended.
func (r *readerProcess) end(with syscall.Signal) error {
	_ = r.process.Process.Signal(with)
	return r.process.Wait()
}

// figure is one of a service's metrics.
func figure(t *testing.T, s *servertest.Service, name string) float64 {
	t.Helper()
	found := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(servertest.Do(t, http.MethodGet, s.URL+"/metrics", "").Body)
	require.NotNil(t, found, name)
	value, err := strconv.ParseFloat(found[1], 64)
	require.NoError(t, err)
	return value
}

func TestReadersThatAreRestartedUnderTheirViewersLoseNothing(t *testing.T) {
	const viewers = 60
	for name, test := range map[string]struct {
		signal syscall.Signal
		end    string // what its process ends with
	}{
		"stopped": {syscall.SIGTERM, ""},
		"killed":  {syscall.SIGKILL, "signal: killed"},
	} {
		t.Run(name, func(t *testing.T) {
			redis := brokertest.Embedded(t)
			commentConfig := servertest.Defaults(t, func(cfg *commentapi.Config) {
				cfg.Redis.RedisURL, cfg.Reports.StatisticsAPIURL = redis.URL(), ""
			})
			comment := servertest.Start(t, &commentConfig.Server, "comment", func(ctx context.Context) error {
				return commentapi.Run(ctx, commentConfig)
			}).AwaitReady(t)
			readers := []*readerProcess{startReaderProcess(t, redis, "reader-1"), startReaderProcess(t, redis, "reader-2")}

			clientConfig := servertest.Defaults(t, func(cfg *fleet.Config) {
				cfg.CommentAPIURL, cfg.ReaderAPIURLs, cfg.Reports.StatisticsAPIURL = comment.URL, []string{readers[0].URL, readers[1].URL}, ""
				cfg.Viewers, cfg.Videos, cfg.CommentsPerMinute = viewers, 5, 120
				cfg.Duration = time.Hour // it judges what its viewers have got when it ends, which is when the test ends it
			})
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			verdict := make(chan error, 1)
			client := servertest.Start(t, &clientConfig.Server, "client", func(context.Context) error {
				err := fleet.Run(ctx, clientConfig)
				verdict <- err
				return err
			})
			// Comments flow all the while: whoever is connected posts.
			awaitFlow := func() {
				t.Helper()
				posted := figure(t, client, "livecomments_client_posted_total")
				require.Eventually(t, func() bool {
					return figure(t, client, "livecomments_client_connected") == viewers &&
						figure(t, client, "livecomments_client_posted_total") > posted+100
				}, 60*time.Second, 20*time.Millisecond)
			}
			awaitFlow()
			for range 2 {
				for _, reader := range readers {
					streams := figure(t, &reader.Service, "livecomments_reader_connections")
					err := reader.end(test.signal)
					assert.Equal(t, test.end, message(err))
					t.Logf("the reader of %.0f viewers was %s", streams, name)
					awaitFlow()
					reader.start()
				}
			}
			leave()
			require.NoError(t, <-verdict)
		})
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
