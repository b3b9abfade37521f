package api_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/shared/server/servertest"
	"github.com/livecomments/livecomments/services/statistics/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T) *servertest.Service {
	t.Helper()
	cfg := servertest.Defaults(t, func(*api.Config) {})
	return servertest.Start(t, &cfg.Server, "statistics", func(ctx context.Context) error { return api.Run(ctx, cfg) }).AwaitReady(t)
}

func TestStatisticsHasEveryFieldOfTheContract(t *testing.T) {
	s := start(t)
	for path, body := range map[string]string{
		"/comment-api-statistics": `{"totalComments":3,"commentsByVideo":{"v":3},"activeTopics":["v","w"],"topicSubscribers":{"v":2,"w":1},"more":1}`,
		"/reader-api-statistics":  `{"instanceId":"r","activeConnections":2,"subscribedTopics":["v"],"messagesSent":6}`,
		"/client-statistics":      `{"clientId":"c","userId":"u","videoId":"v","commentsGenerated":3,"commentsConsumed":2,"subscribedTopics":["v"],"connectedReader":"r"}`,
	} {
		answer := servertest.Do(t, "POST", s.URL+path, body)
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
	client := first(at("clients"))
	for name, value := range map[string]any{"clientId": "c", "userId": "u", "videoId": "v", "commentsGenerated": 3.0, "commentsConsumed": 2.0, "subscribedTopics": []any{"v"}, "connectedReader": "r"} {
		assert.Equal(t, value, client[name], name)
	}
	assert.EqualValues(t, 3, at("storedComments"))
	assert.NotEmpty(t, at("timestamp"))
	assert.Contains(t, at("rates"), "copiesPerComment")

	metrics := servertest.Do(t, "GET", s.URL+"/metrics", "").Body
	assert.Contains(t, metrics, `livecomments_subscription_share{reader="r"} 0.5`)
	assert.Contains(t, metrics, "livecomments_copies_per_comment 0")
}

func TestBeforeAnybodyReportsListsAreEmptyAndNotNull(t *testing.T) {
	assert.NotContains(t, servertest.Do(t, "GET", start(t).URL+"/statistics", "").Body, "null")
}

func TestABadReportIsAnsweredWithWhatWasWrongAndChangesNothing(t *testing.T) {
	s := start(t)
	tests := map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"a reader without an id":   {"POST", "/reader-api-statistics", `{"activeConnections":2}`, 400, "instanceId is required"},
		"a reader with a blank id": {"POST", "/reader-api-statistics", `{"instanceId":" "}`, 400, "instanceId is required"},
		"a client without an id":   {"POST", "/client-statistics", `{"userId":"u"}`, 400, "clientId is required"},
		"wrong type":               {"POST", "/reader-api-statistics", `{"instanceId":"r","activeConnections":"2"}`, 400, "activeConnections must be a number, not string"},
		"negative gauge":           {"POST", "/reader-api-statistics", `{"instanceId":"r","activeConnections":-5}`, 400, "activeConnections must be at least 0"},
		"negative count":           {"POST", "/comment-api-statistics", `{"totalComments":-1}`, 400, "totalComments must be a whole number of at least 0, not number -1"},
		"list for map":             {"POST", "/comment-api-statistics", `{"commentsByVideo":[]}`, 400, "commentsByVideo must be an object, not array"},
		"not JSON":                 {"POST", "/client-statistics", `x`, 400, "the body is not JSON: invalid character 'x' looking for beginning of value at byte 1"},
		"unknown path":             {"GET", "/stats", ``, 404, "there is no /stats here"},
		"unknown method":           {"GET", "/client-statistics", ``, 405, "/client-statistics does not take GET"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			servertest.Refused(t, test.method, s.URL+test.path, test.body, test.status, test.says)
		})
	}
	fromPage := servertest.Do(t, "POST", s.URL+"/reader-api-statistics", `{"instanceId":"evil"}`, "Origin", "https://evil.example")
	assert.Equal(t, 403, fromPage.Status)
	assert.Equal(t, "reports are not taken from web pages", fromPage.Reason())
	body := servertest.Do(t, "GET", s.URL+"/statistics", "").Body
	assert.Contains(t, body, `"totalReaders":0`)
	assert.Contains(t, body, `"clients":[]`)
	assert.JSONEq(t, `{"status":"ok","instance":"statistics"}`, servertest.Do(t, "GET", s.URL+"/health", "").Body)
}
