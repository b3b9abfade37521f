package api_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestAViewerThatLeavesBeforeItsStreamBeginsIsCountedAsGone(t *testing.T) {
	server := brokertest.Real(t)
	r := start(t, server, func(cfg *api.Config) { cfg.Feed.SubscribeTimeout = time.Minute })
	server.Stop()
	get := ask(t, r, "GET /connect?userid=me&videoid=v HTTP/1.1", "Host: x")
	post := ask(t, r, "POST /connect HTTP/1.1", "Host: x", "Content-Length: 29", "", `{"userid":"me","videoid":"v"}`)
	r.AwaitMetric(t, "livecomments_reader_subscribed_topics 1")
	require.NoError(t, get.Close())
	require.NoError(t, post.Close())
	for _, method := range []string{"GET", "POST"} {
		r.AwaitMetric(t, `livecomments_http_request_duration_seconds_count{method="`+method+`",route="/connect",status="499"} 1`)
	}
	r.AwaitMetric(t, "livecomments_reader_connections 0")
	server.Start()
}

func TestAReaderWithoutTheRightToSubscribeSaysSo(t *testing.T) {
	server := brokertest.Real(t)
	command(t, server, "ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@all", "resetchannels")
	core, logs := observer.New(zapcore.WarnLevel)
	cfg := servertest.Defaults(t, func(cfg *api.Config) {
		cfg.Redis.RedisURL = "redis://reader:secret@" + server.Address
		cfg.Reports.StatisticsAPIURL = ""
		cfg.Feed.SubscribeTimeout = 100 * time.Millisecond
		cfg.Server.Logger = zap.New(core)
	})
	s := servertest.Start(t, &cfg.Server, "reader-1", func(ctx context.Context) error { return api.Run(ctx, cfg) })
	require.Eventually(t, func() bool {
		notReady := servertest.Do(t, "GET", s.URL+"/readyz", "")
		return notReady.Status == 503 && notReady.Reason() == "not ready: waiting for Redis, which does not permit what is needed; the log says why"
	}, 10*time.Second, 5*time.Millisecond)
	s.AwaitMetric(t, "livecomments_redis_forbidden 1")
	assert.Equal(t, 503, s.Status("/connect?userid=u&videoid=v"))
	require.Eventually(t, func() bool { return logs.FilterMessage("subscription interrupted").Len() >= 2 }, 10*time.Second, 5*time.Millisecond)
	s.AwaitMetric(t, "livecomments_reader_redis_connected 0")
	command(t, server, "ACL", "SETUSER", "reader", "allchannels")
	s.AwaitReady(t)
	s.AwaitMetric(t, "livecomments_redis_forbidden 0")
	s.AwaitMetric(t, "livecomments_reader_redis_connected 1")
	servertest.Watch(t, "GET", s.URL+"/connect?userid=u&videoid=v", "")
}

// A reader of few descriptors runs in a process of its own, whose shell has set the limit.
func TestAReaderWithFewDescriptorsTakesFewerViewersAndAnswersEverybody(t *testing.T) {
	const limit = 48
	if os.Getenv("RUN_READER_OF_FEW") != "" {
		if err := api.Run(t.Context(), servertest.Defaults(t, func(*api.Config) {})); err != nil {
			t.Fatal(err)
		}
		return
	}
	server := brokertest.Real(t)
	reserved, err := port.Reserve()
	require.NoError(t, err)
	defer reserved.Release()
	child := exec.Command("sh", "-c", "ulimit -n "+strconv.Itoa(limit)+` && exec "$0" -test.run='^`+t.Name()+`$'`, os.Args[0])
	child.Env = append(os.Environ(), "RUN_READER_OF_FEW=1", "REDIS_URL="+server.URL(), "STATISTICS_API_URL=", "PORT="+strconv.Itoa(reserved.Number))
	var log strings.Builder
	child.Stderr = &log
	require.NoError(t, child.Start())
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	s := &servertest.Service{URL: "http://" + reserved.Address()}
	s.AwaitReady(t)

	var mu sync.Mutex
	answers := map[int]int{}
	var coming sync.WaitGroup
	for range 60 {
		coming.Go(func() {
			response, err := http.Get(s.URL + "/connect?userid=me&videoid=v")
			if err != nil {
				return // it is missing from the answers
			}
			t.Cleanup(func() { _ = response.Body.Close() })
			status := response.StatusCode
			mu.Lock()
			defer mu.Unlock()
			answers[status]++
		})
	}
	coming.Wait()
	assert.Equal(t, 60, answers[200]+answers[503], "everybody is answered: %v", answers)
	assert.Positive(t, answers[503])
	for range 20 {
		assert.Equal(t, 200, s.Status("/livez"))
	}
	s.AwaitMetric(t, "livecomments_reader_max_connections "+strconv.Itoa(answers[200]))
	_ = child.Process.Kill()
	_ = child.Wait()
	assert.Equal(t, 1, strings.Count(log.String(), "MAX_CONNECTIONS is more than the file descriptors of this process allow"), log.String())
}
