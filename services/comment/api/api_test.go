package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/comment/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, server *brokertest.Redis, change func(*api.Config)) *servertest.Service {
	t.Helper()
	cfg := servertest.Defaults(t, func(cfg *api.Config) {
		cfg.Redis.RedisURL = server.URL()
		cfg.Reports.StatisticsAPIURL = ""
		change(cfg)
	})
	return servertest.Start(t, &cfg.Server, "comment-1", func(ctx context.Context) error { return api.Run(ctx, cfg) })
}

func defaults(*api.Config) {}

func TestAPostedCommentIsStoredPublishedAndAnswered(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		s := start(t, server, defaults).AwaitReady(t)
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		pubsub := client.Subscribe(t.Context(), "video:v")
		defer func() { _ = pubsub.Close() }()
		_, err := pubsub.Receive(t.Context())
		require.NoError(t, err)

		before := time.Now().Truncate(time.Millisecond)
		answer := servertest.Do(t, "POST", s.URL+"/comment", `{"userid":"u","videoid":"v","comment":"hi <there>","id":"1-1","timestamp":"mine","more":[]}`)
		require.Equal(t, 201, answer.Status, answer.Body)
		var body struct {
			Success bool
			Comment comment.Comment
		}
		require.NoError(t, json.Unmarshal([]byte(answer.Body), &body))
		assert.True(t, body.Success)
		posted := body.Comment
		assert.Equal(t, comment.Comment{UserID: "u", VideoID: "v", Text: "hi <there>", ID: posted.ID, Timestamp: posted.Timestamp}, posted)
		assert.WithinRange(t, posted.Timestamp, before, time.Now())
		assert.NotEqual(t, "1-1", posted.ID.String(), "the id is Redis' to give")

		message, err := pubsub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		id := posted.ID.String()
		data, found := strings.CutPrefix(message.Payload, "1 comment "+id+" 0-0 ")
		assert.True(t, found, message.Payload)
		entries, err := client.XRange(t.Context(), "comments:{video:v}", "-", "+").Result()
		require.NoError(t, err)
		assert.Equal(t, []redis.XMessage{{ID: id, Values: map[string]any{"v": "1", "k": "comment", "p": "0-0", "d": data}}}, entries)
	})
}

func TestACommentIsOneLineForEveryClient(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		s := start(t, server, defaults).AwaitReady(t)
		text := "a\u0085b\u2028c\u009bd\x7fe"
		body, err := json.Marshal(map[string]string{"userid": "u", "videoid": "v", "comment": text})
		require.NoError(t, err)
		require.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", string(body)).Status)
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		entries, err := client.XRange(t.Context(), "comments:{video:v}", "-", "+").Result()
		require.NoError(t, err)
		data := entries[0].Values["d"].(string)
		assert.False(t, strings.ContainsAny(data, "\u0085\u2028\u009b\x7f"), data)
		var stored comment.Comment
		require.NoError(t, json.Unmarshal([]byte(data), &stored))
		assert.Equal(t, text, stored.Text)
	})
}

func TestWithoutTheRightToPublishNothingIsStoredAndOperatorsSeeIt(t *testing.T) {
	server := brokertest.Real(t)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	allow := func(rule string) {
		require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", rule).Err())
	}
	allow("resetchannels")
	s := start(t, server, func(cfg *api.Config) { cfg.Redis.RedisURL = "redis://app:secret@" + server.Address })
	for range 3 {
		refused := servertest.Do(t, "POST", s.URL+"/comment", `{"userid":"u","videoid":"v","comment":"c"}`)
		assert.Equal(t, 503, refused.Status)
		assert.Equal(t, "the comment was not published because Redis did not take it; try again", refused.Reason())
	}
	assert.Zero(t, client.Exists(t.Context(), "comments:{video:v}").Val())
	assert.Equal(t, 503, s.Status("/readyz"))
	s.AwaitMetric(t, "livecomments_redis_forbidden 1")
	s.AwaitMetric(t, `livecomments_comments_refused_total{reason="forbidden"} 3`)
	allow("allchannels")
	s.AwaitReady(t)
	s.AwaitMetric(t, "livecomments_redis_forbidden 0")
	assert.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", `{"userid":"u","videoid":"v","comment":"c"}`).Status)
}

func TestABadCommentIsAnsweredWithWhatWasWrongAndNotPublished(t *testing.T) {
	server := brokertest.Embedded(t)
	s := start(t, server, func(cfg *api.Config) { cfg.Server.BodyLimit = 32 << 10 }).AwaitReady(t)
	const missing, ids = "userid, videoid, and comment are required", " must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"
	tests := map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"nothing":        {"POST", "/comment", `{}`, 400, missing},
		"no user":        {"POST", "/comment", `{"videoid":"v","comment":"c"}`, 400, missing},
		"no video":       {"POST", "/comment", `{"userid":"u","comment":"c"}`, 400, missing},
		"no comment":     {"POST", "/comment", `{"userid":"u","videoid":"v"}`, 400, missing},
		"null":           {"POST", "/comment", `{"userid":"u","videoid":null,"comment":"c"}`, 400, missing},
		"blank comment":  {"POST", "/comment", `{"userid":"u","videoid":"v","comment":" "}`, 400, missing},
		"nothing seen":   {"POST", "/comment", `{"userid":"u","videoid":"v","comment":"\u200b\u2800"}`, 400, "comment must have at least one character that can be seen"},
		"illegal user":   {"POST", "/comment", `{"userid":"u u","videoid":"v","comment":"c"}`, 400, "userid" + ids},
		"illegal video":  {"POST", "/comment", `{"userid":"u","videoid":"v}","comment":"c"}`, 400, "videoid" + ids},
		"too long":       {"POST", "/comment", `{"userid":"u","videoid":"v","comment":"` + strings.Repeat("é", 2001) + `"}`, 400, "comment must be at most 2000 characters, not 2001"},
		"wrong type":     {"POST", "/comment", `{"userid":1,"videoid":"v","comment":"c"}`, 400, "userid must be a string, not number"},
		"an object":      {"POST", "/comment", `{"userid":"u","videoid":{},"comment":"c"}`, 400, "videoid must be a string, not object"},
		"a list":         {"POST", "/comment", `[]`, 400, "the body must be a JSON object, not array"},
		"not JSON":       {"POST", "/comment", `userid=u&videoid=v`, 400, "the body is not JSON: invalid character 'u' looking for beginning of value at byte 1"},
		"empty":          {"POST", "/comment", ``, 400, "the body must be a JSON object, not empty"},
		"oversized":      {"POST", "/comment", `{"comment":"` + strings.Repeat("c", 32<<10) + `"}`, 413, "the body must be at most 32768 bytes"},
		"unknown path":   {"POST", "/comments", `{}`, 404, "there is no /comments here"},
		"unknown method": {"GET", "/comment", ``, 405, "/comment does not take GET"},
		"no statistics":  {"GET", "/statistics", ``, 404, "this Comment API knows no Statistics API: its STATISTICS_API_URL is empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			servertest.Refused(t, test.method, s.URL+test.path, test.body, test.status, test.says)
		})
	}
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	keys, err := client.Keys(t.Context(), "*").Result()
	require.NoError(t, err)
	assert.Empty(t, keys)

	longest := `{"userid":"` + strings.Repeat("u", 128) + `","videoid":"v","comment":"` + strings.Repeat(`\ud83c\udf89`, 2000) + `"}`
	assert.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", longest).Status, "the longest comment fits the default limits")
	metrics := servertest.Do(t, "GET", s.URL+"/metrics", "").Body
	assert.Contains(t, metrics, `livecomments_comments_refused_total{reason="invalid"} 16`)
	assert.Contains(t, metrics, "livecomments_comments_published_total 1")
}

func TestWhileRedisIsAwayPostsAreRefusedAndThenTakenAgain(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		const body = `{"userid":"u","videoid":"v","comment":"c"}`
		server.Stop()
		s := start(t, server, defaults)
		require.Eventually(t, func() bool { return s.Status("/livez") == 200 }, 5*time.Second, 5*time.Millisecond)
		assert.Equal(t, "not ready: waiting for Redis", servertest.Do(t, "GET", s.URL+"/readyz", "").Reason())
		refused := func() {
			answer := servertest.Do(t, "POST", s.URL+"/comment", body)
			assert.Equal(t, 503, answer.Status)
			assert.Equal(t, "the comment was not published because Redis did not take it; try again", answer.Reason())
			assert.NotEmpty(t, answer.Header.Get("Retry-After"))
		}
		refused()
		server.Start()
		s.AwaitReady(t)
		require.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", body).Status)
		server.Stop()
		refused()
		assert.Equal(t, 200, s.Status("/readyz"), "an outage of Redis must not empty the load balancer")
		server.Start()
		require.Eventually(t, func() bool { return servertest.Do(t, "POST", s.URL+"/comment", body).Status == 201 }, 10*time.Second, 10*time.Millisecond)
	})
}

// collector is a Statistics API that remembers.
type collector struct {
	*httptest.Server
	mu      sync.Mutex
	latest  reports.CommentAPI
	reports int
}

func newCollector(t *testing.T) *collector {
	c := &collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(`{"path":"` + r.URL.Path + `"}`))
			return
		}
		var report reports.CommentAPI
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&report))
		assert.Equal(t, "/comment-api-statistics", r.URL.Path)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.latest = report
		c.reports++
	}))
	t.Cleanup(c.Close)
	return c
}

func TestTheCommentAPIReportsAndProxiesStatistics(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		collector := newCollector(t)
		s := start(t, server, func(cfg *api.Config) {
			cfg.Reports.StatisticsAPIURL, cfg.Reports.URL = collector.URL, collector.URL
			cfg.Reports.Interval = 100 * time.Millisecond
		}).AwaitReady(t)
		for _, video := range []string{"v1", "v1", "v3"} {
			require.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", `{"userid":"u","videoid":"`+video+`","comment":"c"}`).Status)
		}
		want := reports.CommentAPI{
			InstanceID: "comment-1", TotalComments: 3, CommentsByVideo: map[string]uint64{"v1": 2, "v3": 1}, CommentedVideos: 2,
		}
		require.Eventually(t, func() bool {
			collector.mu.Lock()
			defer collector.mu.Unlock()
			latest := collector.latest
			latest.Process = 0 // is random
			return collector.latest.Process != 0 && assert.ObjectsAreEqual(want, latest)
		}, 5*time.Second, 10*time.Millisecond)

		assert.JSONEq(t, `{"path":"/statistics"}`, servertest.Do(t, "GET", s.URL+"/statistics", "").Body)
		assert.JSONEq(t, `{"status":"ok","instance":"comment-1","comments":3}`, servertest.Do(t, "GET", s.URL+"/health", "").Body)
		collector.Close()
		gone := servertest.Do(t, "GET", s.URL+"/statistics", "")
		assert.Equal(t, 502, gone.Status)
		assert.Equal(t, "the Statistics API does not answer", gone.Reason())
		assert.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", `{"userid":"u","videoid":"v1","comment":"c"}`).Status, "comments do not need it")
	})
}

// One Statistics API asks Redis for all channels, seldom; every Comment API at each report would be a load.
func TestTheCommentAPIDoesNotAskForTheListOfChannels(t *testing.T) {
	server, collector := brokertest.Real(t), newCollector(t)
	s := start(t, server, func(cfg *api.Config) {
		cfg.Reports.StatisticsAPIURL, cfg.Reports.URL = collector.URL, collector.URL
		cfg.Reports.Interval = 100 * time.Millisecond
	}).AwaitReady(t)
	require.Equal(t, 201, servertest.Do(t, "POST", s.URL+"/comment", `{"userid":"u","videoid":"v","comment":"c"}`).Status)
	require.Eventually(t, func() bool {
		collector.mu.Lock()
		defer collector.mu.Unlock()
		return collector.reports > 3
	}, 10*time.Second, 10*time.Millisecond)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	commands, err := client.Info(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	assert.Contains(t, commands, "cmdstat_xadd:")
	assert.NotContains(t, commands, "cmdstat_pubsub")
}

func TestABadSettingStopsTheCommentAPIWithOneLine(t *testing.T) {
	for want, change := range map[string]func(*api.Config){
		"PORT=0 is out of bounds: it must be at least 1":                                             func(cfg *api.Config) { cfg.Port = 0 },
		"HISTORY_LENGTH=0 is out of bounds: it must be at least 1":                                   func(cfg *api.Config) { cfg.Redis.HistoryLength = 0 },
		"REPORT_INTERVAL=1ms is out of bounds: it must be at least 100ms":                            func(cfg *api.Config) { cfg.Reports.Interval = time.Millisecond },
		"STATISTICS_API_URL=statistics:5000 is out of bounds: it must be an http:// or https:// URL": func(cfg *api.Config) { cfg.Reports.StatisticsAPIURL = "statistics:5000" },
		"REPORT_URL=:5001 is out of bounds: it must be an http:// or https:// URL":                   func(cfg *api.Config) { cfg.Reports.URL = ":5001" },
		"REDIS_URL is not of the form redis://user:password@host:port/db":                            func(cfg *api.Config) { cfg.Redis.RedisURL = "redis://:pass@host:port" },
		`CORS_ORIGINS: "video.example" must begin with http:// or https://`:                          func(cfg *api.Config) { cfg.Server.CORSOrigins = []string{"video.example"} },
	} {
		require.EqualError(t, api.Run(t.Context(), servertest.Defaults(t, change)), want)
	}
}
