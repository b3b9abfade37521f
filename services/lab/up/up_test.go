package up_test

import (
	"bytes"
	"context"
	"encoding/json"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/lab/up"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

func TestMain(m *testing.M) {
	runAsReader()
	goleak.VerifyTestMain(m, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

// output is what the lab prints, safe to read while it does.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// lab is a system that runs.
type lab struct {
	up.Addresses
	t    *testing.T
	out  *output
	stop func() error
}

func start(t *testing.T, change func(*up.Command)) *lab {
	t.Helper()
	l := &lab{t: t, out: &output{}}
	started := make(chan up.Addresses, 1)
	command := up.Command{
		Readers: 3, Viewers: 3, Videos: 2, Routing: "random", Popularity: "uniform", CommentsPerMinute: 15, Every: 100 * time.Millisecond,
		Host: "127.0.0.1", LogLevel: "error", Out: l.out, Started: func(at up.Addresses) { started <- at },
	}
	change(&command)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- command.Run(ctx) }()
	l.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { _ = l.stop() })
	select {
	case l.Addresses = <-started:
	case err := <-done:
		done <- err
		require.NoError(t, err)
	case <-time.After(30 * time.Second):
		require.FailNow(t, "not up", l.out.String())
	}
	return l
}

func (l *lab) get(url string, into any) {
	l.t.Helper()
	answer := servertest.Do(l.t, "GET", url, "")
	require.Equal(l.t, 200, answer.Status)
	require.NoError(l.t, json.Unmarshal([]byte(answer.Body), into))
}

func (l *lab) totals() (totals tally.Totals) {
	l.t.Helper()
	l.get(l.Statistics+"/statistics", &totals)
	return totals
}

// await returns when the statistics are as they should be.
func (l *lab) await(as func(tally.Totals) bool) tally.Totals {
	l.t.Helper()
	var totals tally.Totals
	require.Eventually(l.t, func() bool { totals = l.totals(); return as(totals) }, 60*time.Second, 50*time.Millisecond, "%s", l.out)
	return totals
}

func TestTheSmallSceneFlowsFromPostersToViewers(t *testing.T) {
	l := start(t, func(c *up.Command) { c.CommentsPerMinute = 600 })
	totals := l.await(func(s tally.Totals) bool { return s.Viewers.CommentsConsumed > 50 && s.Rates.CopiesPerComment > 0 })
	assert.Equal(t, 3, totals.ReaderAPIs.TotalReaders)
	assert.Equal(t, 3, totals.ReaderAPIs.TotalActiveConnections)
	assert.Equal(t, 2, totals.ReaderAPIs.AllSubscribedTopicCount)
	require.Len(t, totals.Clients, 3)
	for i, want := range []struct{ client, user, video string }{{"client-1", "user1", "video1"}, {"client-2", "user2", "video2"}, {"client-3", "user3", "video1"}} {
		got := totals.Clients[i]
		assert.Equal(t, want.client, got.ClientID)
		assert.Equal(t, want.user, got.UserID)
		assert.Equal(t, want.video, got.VideoID)
		assert.Regexp(t, `^reader-[123]$`, got.ConnectedReader)
	}
	var proxied tally.Totals
	l.get(l.Comment+"/statistics", &proxied)
	assert.Equal(t, totals.ReaderAPIs.TotalReaders, proxied.ReaderAPIs.TotalReaders)

	s := servertest.Watch(t, "GET", l.Readers[0]+"/connect?userid=me&videoid=mine", "")
	s.Expect(t)
	require.Equal(t, 201, servertest.Do(t, "POST", l.Comment+"/comment", `{"userid":"me","videoid":"mine","comment":"hello"}`).Status)
	assert.Contains(t, s.Expect(t).Data, `"comment":"hello"`)
	s.Close()

	require.NoError(t, l.stop())
	out := l.out.String()
	for _, address := range append([]string{l.Comment, l.Statistics}, l.Readers...) {
		assert.Contains(t, out, address)
	}
	assert.Regexp(t, `\d\d:\d\d  3 viewers \| \d+\.\d comments/s \| \d+\.\d deliveries/s \| share \d+% \d+% \d+% \| copies \d\.\d\d \| 0 missing 0 duplicates 0 misordered`, out)
	assert.Regexp(t, `\d+ comments posted, 0 not taken; \d+ arrived at viewers: 0 missing 0 duplicates 0 misordered`, out)
}

func TestABrowserFindsThePagesAndWhatTheyNeed(t *testing.T) {
	l := start(t, func(c *up.Command) { c.CommentsPerMinute = 600 })
	assert.Contains(t, l.out.String(), "open "+l.Statistics+" to see the fleet, and "+l.Statistics+"/watch?videoid=video1 to watch")
	for _, path := range []string{"/", "/watch?videoid=video1", "/client.js"} {
		assert.Equal(t, 200, servertest.Do(t, "GET", l.Statistics+path, "").Status, path)
	}
	var addresses struct{ Reader, Comment string }
	l.get(l.Statistics+"/pages.json", &addresses)
	assert.Equal(t, l.Readers[0], addresses.Reader)
	assert.Equal(t, l.Comment, addresses.Comment)

	l.await(func(s tally.Totals) bool {
		return s.ReaderAPIs.TotalActiveConnections == 3 && s.Rates.CopiesPerComment > 0
	})
	var audience struct {
		Viewers int
		Exact   bool
	}
	require.Eventually(t, func() bool {
		l.get(l.Statistics+"/viewers?videoid=video1", &audience)
		return audience.Viewers == 2 && audience.Exact
	}, 60*time.Second, 50*time.Millisecond)
	fleet := servertest.Watch(t, "GET", l.Statistics+"/fleet", "")
	assert.Equal(t, "past", fleet.Expect(t).Type)
	var snapshot struct {
		Viewers int
		Readers []struct {
			ID     string
			Shared bool
		}
	}
	require.NoError(t, json.Unmarshal([]byte(fleet.Expect(t).Data), &snapshot))
	assert.Equal(t, 3, snapshot.Viewers)
	require.Len(t, snapshot.Readers, 3)
	for _, reader := range snapshot.Readers {
		assert.True(t, reader.Shared, "all are in one process")
	}
	require.NoError(t, l.stop())
	for range fleet.Events { // what came until then
	}
	fleet.ExpectEnd(t)
}

func TestTheReportedShareIsWhatTheReadersAndRedisSay(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		l := start(t, func(c *up.Command) {
			c.Readers, c.Viewers, c.Videos, c.CommentsPerMinute, c.RedisURL = 5, 300, 30, 20, server.URL()
		})
		totals := l.await(func(s tally.Totals) bool {
			return s.Viewers.Connected == 300 && s.ReaderAPIs.TotalActiveConnections == 300 && s.CommentAPI.ActiveTopicCount == 30 && s.Viewers.CommentsConsumed > 3000
		})
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		channels, err := client.PubSubChannels(t.Context(), "video:*").Result()
		require.NoError(t, err)
		assert.Len(t, channels, 30)
		subscribers, err := client.PubSubNumSub(t.Context(), channels...).Result()
		require.NoError(t, err)
		subscriptions := 0
		for _, n := range subscribers {
			subscriptions += int(n)
		}
		assert.Equal(t, subscriptions, totals.ReaderAPIs.TotalSubscriptions)
		require.Len(t, totals.ReaderAPIs.Readers, 5)
		for i, reader := range totals.ReaderAPIs.Readers {
			var health struct{ Topics, Connections int }
			l.get(l.Readers[i]+"/health", &health)
			assert.Equal(t, health.Topics, reader.SubscribedTopicCount)
			assert.Equal(t, health.Connections, reader.ActiveConnections)
			assert.InDelta(t, float64(health.Topics)/30, reader.SubscriptionShare, 1e-9)
		}
		// Every comment is copied to each reader that holds its video, and every viewer has one share in the posts. While the pace
		// still rises, the rates of parts that report at different moments do not belong together.
		l.await(func(s tally.Totals) bool {
			return math.Abs(s.Rates.CopiesPerComment/(float64(subscriptions)/30)-1) <= 0.1
		})
		require.NoError(t, l.stop(), l.out)
		assert.Contains(t, l.out.String(), " 0 missing 0 duplicates 0 misordered | 0 gaps 0 reconnects | latency")
	})
}

func TestKillingAndRestartingRedisUnder200ViewersLosesNothingThatWasAnswered201(t *testing.T) {
	for _, routing := range []string{"random", "bounded"} {
		t.Run(routing, func(t *testing.T) { killRedis(t, routing) })
	}
}

func killRedis(t *testing.T, routing string) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		l := start(t, func(c *up.Command) {
			c.Readers, c.Viewers, c.Videos, c.Popularity, c.CommentsPerMinute, c.RedisURL = 3, 200, 20, "zipf", 30, server.URL()
			c.Routing = routing
		})
		l.await(func(s tally.Totals) bool { return s.Viewers.Connected == 200 && s.Viewers.CommentsConsumed > 1000 })
		for range 3 {
			before := l.totals().Viewers
			server.Stop()
			l.await(func(s tally.Totals) bool { return s.Viewers.FailedPosts > before.FailedPosts+20 })
			server.Start()
			after := l.await(func(s tally.Totals) bool { return s.Viewers.CommentsGenerated > before.CommentsGenerated+200 }).Viewers
			// All came at once, so that a few were placed before the readers knew how full they are, and are still being moved.
			assert.GreaterOrEqual(t, after.Connected, map[string]int{"random": 200, "bounded": 190}[routing], "streams stay open")
			assert.Less(t, after.Reconnects, uint64(30), "an outage of Redis moves nobody")
		}
		require.NoError(t, l.stop(), l.out)
		out := l.out.String()
		assert.Regexp(t, `arrived at viewers: 0 missing 0 duplicates 0 misordered`, out)
		assert.NotContains(t, out, ", 0 not taken;")
	})
}

func TestPlacedViewersShareTheirReadersAndMissNothing(t *testing.T) {
	// Streams end all the time, and are placed again.
	t.Setenv("STREAM_LIFETIME", "3s")
	t.Setenv("LINGER", "1s")
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		l := start(t, func(c *up.Command) {
			c.Readers, c.Viewers, c.Videos, c.CommentsPerMinute, c.RedisURL, c.Routing = 5, 300, 30, 30, server.URL(), "bounded"
		})
		l.await(func(s tally.Totals) bool {
			return s.Viewers.Connected > 200 && s.Viewers.CommentsConsumed > 3000 && s.Viewers.Reconnects > 300 &&
				s.ReaderAPIs.AllSubscribedTopicCount == 30 && s.ReaderAPIs.TotalSubscriptions < 40
		})
		require.NoError(t, l.stop(), l.out)
		assert.Contains(t, l.out.String(), " 0 missing 0 duplicates 0 misordered | 0 gaps ")
	})
}

func TestViewersWhoseStreamsEndOverAndOverMissNothing(t *testing.T) {
	// Every stream ends within a second and a half, while comments flow.
	t.Setenv("STREAM_LIFETIME", "1500ms")
	t.Setenv("RETRY", "100ms")
	l := start(t, func(c *up.Command) { c.Viewers, c.Videos, c.CommentsPerMinute = 60, 5, 60 })
	l.await(func(s tally.Totals) bool { return s.Viewers.Reconnects > 200 })
	require.NoError(t, l.stop(), l.out)
	assert.Contains(t, l.out.String(), ": 0 missing 0 duplicates 0 misordered")
}

func TestTheLabWaitsForARedisThatIsDown(t *testing.T) {
	server := brokertest.Real(t)
	server.Stop()
	go func() {
		time.Sleep(1500 * time.Millisecond)
		server.Start()
	}()
	l := start(t, func(c *up.Command) { c.RedisURL = server.URL() })
	assert.Contains(t, l.out.String(), "waiting for Redis at "+server.URL())
}

func TestViewersWhoNeverGotAStreamAreNotASuccess(t *testing.T) {
	t.Setenv("MAX_CONNECTIONS", "1")
	l := start(t, func(c *up.Command) { c.Readers, c.Viewers, c.CommentsPerMinute = 1, 5, 600 })
	l.await(func(s tally.Totals) bool { return s.Viewers.NeverConnected == 4 })
	assert.EqualError(t, l.stop(), "4 viewers never got a stream")
}

func TestALostReportIsNotASuccess(t *testing.T) {
	t.Setenv("BODY_LIMIT", "300")
	l := start(t, func(c *up.Command) { c.Viewers = 30 })
	assert.EqualError(t, l.stop(), "the last report is of 0 viewers, not of 30")
}

func TestTheLabCanListenElsewhereAndHaveNoViewers(t *testing.T) {
	l := start(t, func(c *up.Command) { c.Host, c.Viewers = "127.0.0.2", 0 })
	assert.Contains(t, l.Comment, "http://127.0.0.2:")
	assert.Equal(t, 201, servertest.Do(t, "POST", l.Comment+"/comment", `{"userid":"u","videoid":"v","comment":"c"}`).Status)
	assert.NoError(t, l.stop())
}

func TestABadFlagIsNamed(t *testing.T) {
	for want, change := range map[string]func(*up.Command){
		"--readers must be from 1 to 200, not 0":                                                        func(c *up.Command) { c.Readers = 0 },
		"--videos=2 --viewers=1: 2 videos need at least as many viewers, not 1":                         func(c *up.Command) { c.Viewers = 1 },
		"--videos=0 --viewers=3: videos must be at least 1, not 0":                                      func(c *up.Command) { c.Videos = 0 },
		"--comments-per-minute must be at least 0, not -1":                                              func(c *up.Command) { c.CommentsPerMinute = -1 },
		"--duration must be at least 0s, not -1s":                                                       func(c *up.Command) { c.Duration = -time.Second },
		"--viewers must be at least 0, not -1":                                                          func(c *up.Command) { c.Viewers = -1 },
		"--reader-port=65534 leaves no room for 3 readers below 65536":                                  func(c *up.Command) { c.ReaderPort = 65534 },
		"--comment-port must be from 0 to 65535, not 70000":                                             func(c *up.Command) { c.CommentPort = 70000 },
		"--every must be at least 100ms, not 0s":                                                        func(c *up.Command) { c.Every = 0 },
		`--videos=2 --viewers=3: popularity must be uniform, three-tier, zipf or celebrity, not "none"`: func(c *up.Command) { c.Popularity = "none" },
	} {
		command := up.Command{Readers: 3, Viewers: 3, Videos: 2, Routing: "random", Popularity: "uniform", Every: time.Second}
		change(&command)
		err := command.Run(t.Context())
		var bad *config.Error
		require.ErrorAs(t, err, &bad)
		assert.EqualError(t, err, want)
	}
}

func TestATakenPortIsNamedWithTheFlagThatChangesIt(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	command := up.Command{Readers: 1, Viewers: 1, Videos: 1, Routing: "random", Popularity: "uniform", Every: time.Second, Host: "127.0.0.1", CommentPort: port, LogLevel: "error"}
	err = command.Run(t.Context())
	require.ErrorContains(t, err, "comment cannot listen (another port can be chosen with --comment-port, another address with --host)")
	assert.ErrorContains(t, err, strconv.Itoa(port))
}
