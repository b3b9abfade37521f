package api_test

import (
	"context"
	"encoding/json"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
	"github.com/livecomments/livecomments/services/statistics/api"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// statistics is a Statistics API, with the URL where it takes reports.
type statistics struct {
	*servertest.Service
	reports string
}

func start(t *testing.T, change ...func(*api.Config)) *statistics {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := servertest.Defaults(t, func(cfg *api.Config) { cfg.ReportListener, cfg.TopicsInterval = listener, 0 })
	for _, change := range change {
		change(&cfg)
	}
	service := servertest.Start(t, &cfg.Server, "statistics", func(ctx context.Context) error { return api.Run(ctx, cfg) })
	return &statistics{service.AwaitReady(t), "http://" + listener.Addr().String()}
}

func (s *statistics) totals(t *testing.T) (totals tally.Totals) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(servertest.Do(t, "GET", s.URL+"/statistics", "").Body), &totals))
	return totals
}

func TestStatisticsHasEveryFieldOfTheContract(t *testing.T) {
	s := start(t)
	for path, body := range map[string]string{
		"/comment-api-statistics": `{"totalComments":3,"commentsByVideo":{"v":3},"activeTopics":["v","w"],"topicSubscribers":{"v":2,"w":1},"more":1}`,
		"/reader-api-statistics":  `{"instanceId":"r","activeConnections":2,"subscribedTopics":["v"],"messagesSent":6,"routing":"hash","redirects":8,"placed":7,"kept":1,"moved":2,"misplaced":3,"fleetReaders":5}`,
		"/client-statistics":      `{"clientId":"c","userId":"u","videoId":"v","commentsGenerated":3,"commentsConsumed":2,"subscribedTopics":["v"],"connectedReader":"r"}`,
	} {
		answer := servertest.Do(t, "POST", s.reports+path, body)
		assert.Equal(t, 200, answer.Status, answer.Body)
	}
	var got map[string]any
	answer := servertest.Do(t, "GET", s.URL+"/statistics", "")
	require.NoError(t, json.Unmarshal([]byte(answer.Body), &got))
	at := func(path ...string) any {
		var value any = got
		for _, name := range path {
			value = value.(map[string]any)[name]
		}
		return value
	}
	first := func(list any) map[string]any { return list.([]any)[0].(map[string]any) }

	assert.EqualValues(t, 3, at("commentApi", "totalComments"))
	assert.Equal(t, map[string]any{"v": 3.0}, at("commentApi", "commentsByVideo"))
	assert.Equal(t, []any{"v", "w"}, at("commentApi", "activeTopics"))
	assert.Equal(t, map[string]any{"v": 2.0, "w": 1.0}, at("commentApi", "topicSubscribers"))
	assert.EqualValues(t, 1, at("readerApis", "totalReaders"))
	assert.EqualValues(t, 2, at("readerApis", "totalActiveConnections"))
	assert.EqualValues(t, 6, at("readerApis", "totalMessagesSent"))
	assert.Equal(t, []any{"v"}, at("readerApis", "allSubscribedTopics"))
	reader := first(at("readerApis", "readers"))
	assert.Equal(t, "r", reader["instanceId"])
	assert.EqualValues(t, 2, reader["activeConnections"])
	assert.Equal(t, []any{"v"}, reader["subscribedTopics"])
	assert.EqualValues(t, 6, reader["messagesSent"])
	assert.InDelta(t, 0.5, reader["subscriptionShare"], 1e-9)
	assert.Equal(t, "hash", at("readerApis", "routing"))
	for name, value := range map[string]any{"totalRedirects": 8.0, "totalMoved": 2.0, "totalMisplaced": 3.0} {
		assert.Equal(t, value, at("readerApis", name), name)
	}
	for name, value := range map[string]any{"routing": "hash", "redirects": 8.0, "placed": 7.0, "kept": 1.0, "moved": 2.0, "misplaced": 3.0, "fleetReaders": 5.0} {
		assert.Equal(t, value, reader[name], name)
	}
	client := first(at("clients"))
	for name, value := range map[string]any{"clientId": "c", "userId": "u", "videoId": "v", "commentsGenerated": 3.0, "commentsConsumed": 2.0, "subscribedTopics": []any{"v"}, "connectedReader": "r"} {
		assert.Equal(t, value, client[name], name)
	}
	assert.EqualValues(t, 3, at("storedComments"))
	assert.NotEmpty(t, at("timestamp"))
	assert.Contains(t, at("rates"), "copiesPerComment")
	assert.Equal(t, []any{}, at("duplicateInstanceIds"))

	metrics := servertest.Do(t, "GET", s.URL+"/metrics", "").Body
	assert.Contains(t, metrics, `livecomments_subscription_share{reader="r"} 0.5`)
	assert.Contains(t, metrics, "livecomments_copies_per_comment 0")
}

func TestBeforeAnybodyReportsListsAreEmptyAndNotNull(t *testing.T) {
	assert.NotContains(t, servertest.Do(t, "GET", start(t).URL+"/statistics", "").Body, "null")
}

func TestABadReportIsAnsweredWithWhatWasWrongAndChangesNothing(t *testing.T) {
	s := start(t)
	const form = " must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"
	tests := map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"a reader without an id":   {"POST", "/reader-api-statistics", `{"activeConnections":2}`, 400, "instanceId is required"},
		"a reader with a blank id": {"POST", "/reader-api-statistics", `{"instanceId":" "}`, 400, "instanceId" + form},
		"a reader with a long id":  {"POST", "/reader-api-statistics", `{"instanceId":"` + strings.Repeat("r", 129) + `"}`, 400, "instanceId" + form},
		"a client without an id":   {"POST", "/client-statistics", `{"userId":"u"}`, 400, "clientId is required"},
		"an id that is no label":   {"POST", "/client-statistics", `{"clientId":"c\"}\n"}`, 400, "clientId" + form},
		"a comment API's, too":     {"POST", "/comment-api-statistics", `{"instanceId":"c/1"}`, 400, "instanceId" + form},
		"wrong type":               {"POST", "/reader-api-statistics", `{"instanceId":"r","activeConnections":"2"}`, 400, "activeConnections must be a number, not string"},
		"negative gauge":           {"POST", "/reader-api-statistics", `{"instanceId":"r","activeConnections":-5}`, 400, "activeConnections must be at least 0"},
		"negative count":           {"POST", "/comment-api-statistics", `{"totalComments":-1}`, 400, "totalComments must be a whole number of at least 0, not number -1"},
		"list for map":             {"POST", "/comment-api-statistics", `{"commentsByVideo":[]}`, 400, "commentsByVideo must be an object, not array"},
		"not JSON":                 {"POST", "/client-statistics", `x`, 400, "the body is not JSON: invalid character 'x' looking for beginning of value at byte 1"},
		"unknown path":             {"GET", "/statistics", ``, 404, "there is no /statistics here"},
		"unknown method":           {"GET", "/client-statistics", ``, 405, "/client-statistics does not take GET"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			servertest.Refused(t, test.method, s.reports+test.path, test.body, test.status, test.says)
		})
	}
	s.unchanged(t)
	assert.JSONEq(t, `{"status":"ok","instance":"statistics"}`, servertest.Do(t, "GET", s.URL+"/health", "").Body)
}

// unchanged checks that no report was taken.
func (s *statistics) unchanged(t *testing.T) {
	t.Helper()
	totals := s.totals(t)
	assert.Zero(t, totals.CommentAPI.Instances)
	assert.Zero(t, totals.ReaderAPIs.TotalReaders)
	assert.Zero(t, totals.Viewers.Clients)
	assert.Zero(t, totals.StoredComments)
}

var valid = map[string]string{
	"/comment-api-statistics": `{"instanceId":"c","totalComments":3}`,
	"/reader-api-statistics":  `{"instanceId":"r"}`,
	"/client-statistics":      `{"clientId":"c"}`,
}

func TestReportsAreTakenOnTheirOwnPortOnly(t *testing.T) {
	s := start(t)
	_, port, _ := strings.Cut(strings.TrimPrefix(s.reports, "http://"), ":")
	for path, body := range valid {
		for _, method := range []string{"POST", "PUT", "GET"} {
			servertest.Refused(t, method, s.URL+path, body, 404, "reports are taken on port "+port+", not here")
		}
	}
	s.unchanged(t)
	for _, path := range []string{"/livez", "/readyz"} {
		assert.Equal(t, 200, servertest.Do(t, "GET", s.reports+path, "").Status)
	}
	for path, body := range valid {
		assert.JSONEq(t, `{"success":true}`, servertest.Do(t, "POST", s.reports+path, body).Body)
	}
	assert.Equal(t, uint64(3), s.totals(t).StoredComments)
}

func TestWebPagesCannotReport(t *testing.T) {
	s := start(t)
	for path, body := range valid {
		for _, origin := range []string{"https://evil.example", "http://localhost:5000", "null"} {
			answer := servertest.Do(t, "POST", s.reports+path, body, "Origin", origin, "Content-Type", "text/plain")
			assert.Equal(t, 403, answer.Status)
			assert.Equal(t, "reports are not taken from web pages", answer.Reason())
			preflight := servertest.Do(t, "OPTIONS", s.reports+path, "", "Origin", origin, "Access-Control-Request-Method", "POST")
			assert.Equal(t, 405, preflight.Status)
			assert.Empty(t, preflight.Header.Get("Access-Control-Allow-Origin"))
		}
	}
	s.unchanged(t)
}

func TestInstancesBeyondTheMaximumAreAnswered503(t *testing.T) {
	s := start(t, func(cfg *api.Config) { cfg.Tally.MaxInstances = 1 })
	require.Equal(t, 200, servertest.Do(t, "POST", s.reports+"/reader-api-statistics", `{"instanceId":"r1"}`).Status)
	servertest.Refused(t, "POST", s.reports+"/reader-api-statistics", `{"instanceId":"r2"}`, 503,
		"1 reader instances report already, as many as MAX_INSTANCES admits; this one is refused")
	assert.Equal(t, 1, s.totals(t).ReaderAPIs.TotalReaders)
	s.AwaitMetric(t, `livecomments_reports_refused_total{kind="reader"} 1`)
}

func TestTwoReadersOfOneNameAreToldApart(t *testing.T) {
	s := start(t)
	for _, body := range []string{
		`{"instanceId":"r","process":1,"messagesSent":1}`, `{"instanceId":"r","process":2,"messagesSent":2}`, `{"instanceId":"r","process":1,"messagesSent":3}`,
	} {
		require.Equal(t, 200, servertest.Do(t, "POST", s.reports+"/reader-api-statistics", body).Status)
	}
	totals := s.totals(t)
	assert.Equal(t, uint64(5), totals.ReaderAPIs.TotalMessagesSent)
	assert.Equal(t, []string{"r"}, totals.DuplicateInstanceIDs)
	s.AwaitMetric(t, `livecomments_duplicate_instance_ids 1`)
	s.AwaitMetric(t, `livecomments_subscription_share{reader="r#1"} 0`)
}

func TestTheListOfVideosIsAskedOfRedis(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		server.Stop()
		log, logs := observer.New(zap.InfoLevel)
		s := start(t, func(cfg *api.Config) {
			cfg.Redis.RedisURL, cfg.TopicsInterval, cfg.Server.Logger = server.URL(), 100*time.Millisecond, zap.New(log)
		})
		require.Equal(t, 200, servertest.Do(t, "POST", s.reports+"/comment-api-statistics", `{"activeTopics":["reported"],"topicSubscribers":{"reported":7}}`).Status)
		assert.Equal(t, []string{"reported"}, s.totals(t).CommentAPI.ActiveTopics, "nothing depends on Redis")
		await := func(want map[string]int64) {
			t.Helper()
			require.Eventually(t, func() bool {
				all := s.totals(t).CommentAPI
				return assert.ObjectsAreEqual(want, all.TopicSubscribers) && all.ActiveTopicCount == len(want) && len(all.ActiveTopics) == len(want)
			}, 10*time.Second, 10*time.Millisecond)
		}

		refused := func(times int) {
			t.Helper()
			require.Eventually(t, func() bool { return logs.FilterMessageSnippet("Redis does not give").Len() == times }, 10*time.Second, 10*time.Millisecond)
		}

		refused(1) // a question that Redis comes back in time for is not refused
		server.Start()
		await(map[string]int64{})
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		pubsub := client.Subscribe(t.Context(), "video:v1", "video:v2", "unrelated")
		defer func() { _ = pubsub.Close() }()
		await(map[string]int64{"v1": 1, "v2": 1})

		server.Stop()
		refused(2)
		assert.Equal(t, map[string]int64{"v1": 1, "v2": 1}, s.totals(t).CommentAPI.TopicSubscribers, "what was last known stands")
		assert.Equal(t, 200, s.Status("/readyz"))
		assert.Equal(t, 1, logs.FilterMessageSnippet("Redis gives the list of channels again").Len(), "an outage is one line")
	})
}

func TestABadSettingStopsTheStatisticsAPIWithOneLine(t *testing.T) {
	for want, change := range map[string]func(*api.Config){
		"REPORT_PORT=0 is out of bounds: it must be at least 1":                  func(cfg *api.Config) { cfg.ReportPort = 0 },
		"REPORT_PORT=5000 must not be that of PORT":                              func(cfg *api.Config) { cfg.ReportPort = 5000 },
		"MAX_INSTANCES=0 is out of bounds: it must be at least 1":                func(cfg *api.Config) { cfg.Tally.MaxInstances = 0 },
		"TOPICS_INTERVAL=1ms is out of bounds: it must be at least 100ms":        func(cfg *api.Config) { cfg.TopicsInterval = time.Millisecond },
		"TOPICS_INTERVAL=-1s is out of bounds: it must be at least 100ms":        func(cfg *api.Config) { cfg.TopicsInterval = -time.Second },
		"REDIS_URL is not of the form redis://user:password@host:port/db":        func(cfg *api.Config) { cfg.Redis.RedisURL = "redis://:pass@host:port" },
		"PAGES_WATCHERS=0 is out of bounds: it must be at least 1":               func(cfg *api.Config) { cfg.Pages.Watchers = 0 },
		`PAGES_READER_URL="live.example.org" must be an http:// or https:// URL`: func(cfg *api.Config) { cfg.Pages.ReaderURL = "live.example.org" },
		`PAGES_READER_URL="https://:4001" must be an http:// or https:// URL`:    func(cfg *api.Config) { cfg.Pages.ReaderURL = "https://:4001" },
		`PAGES_COMMENT_URL="ftp://host" must be an http:// or https:// URL`:      func(cfg *api.Config) { cfg.Pages.CommentURL = "ftp://host" },
		`PAGES_COMMENT_URL="http://me:xxxxx@host" must have no user, query or fragment: browsers are given it`: func(cfg *api.Config) {
			cfg.Pages.CommentURL = "http://me:secret@host"
		},
		`PAGES_READER_URL="http://host/?a" must have no user, query or fragment: browsers are given it`: func(cfg *api.Config) {
			cfg.Pages.ReaderURL = "http://host/?a"
		},
		"INSTANCE_ID must be 1 to 128 characters of A-Z a-z 0-9 . _ : -": func(cfg *api.Config) { cfg.Server.InstanceID = "the statistics" },
	} {
		require.EqualError(t, api.Run(t.Context(), servertest.Defaults(t, change)), want)
	}
}
