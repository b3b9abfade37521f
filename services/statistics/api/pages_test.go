package api_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/server/servertest"
	"github.com/livecomments/livecomments/services/statistics/api"
)

func TestEachPageMayUseOnlyWhatIsItsOwnAndConnectWhereItMust(t *testing.T) {
	s := start(t)
	for path, connect := range map[string]string{"/": "'self'", "/watch": "'self' http: https:"} {
		answer := servertest.Do(t, "GET", s.URL+path, "")
		require.Equal(t, 200, answer.Status)
		assert.Equal(t, "text/html; charset=utf-8", answer.Header.Get("Content-Type"))
		assert.Equal(t, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src "+connect+
			"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", answer.Header.Get("Content-Security-Policy"))
		assert.Equal(t, "nosniff", answer.Header.Get("X-Content-Type-Options"))
		assert.Equal(t, "no-referrer", answer.Header.Get("Referrer-Policy"))
		assert.Contains(t, strings.ToLower(answer.Body), "<!doctype html>")
	}
}

func TestABrowserThatHasAFileIsToldThatItIsTheSame(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/", "/watch", "/client.js"} {
		plain, zipped := servertest.Do(t, "GET", s.URL+path, ""), servertest.Do(t, "GET", s.URL+path, "", "Accept-Encoding", "gzip, br")
		assert.Equal(t, "no-cache", plain.Header.Get("Cache-Control"))
		tag := plain.Header.Get("ETag")
		require.NotEmpty(t, tag)
		again := servertest.Do(t, "GET", s.URL+path, "", "If-None-Match", tag)
		assert.Equal(t, 304, again.Status)
		assert.Empty(t, again.Body)
		assert.Equal(t, 200, servertest.Do(t, "GET", s.URL+path, "", "If-None-Match", `"another"`).Status)

		head := servertest.Do(t, "HEAD", s.URL+path, "")
		assert.Equal(t, 200, head.Status)
		assert.Equal(t, tag, head.Header.Get("ETag"))
		assert.Empty(t, head.Body)

		assert.Equal(t, "Accept-Encoding", zipped.Header.Get("Vary"))
		if zipped.Header.Get("Content-Encoding") == "" {
			continue // a page that is shorter as it is
		}
		assert.NotEqual(t, tag, zipped.Header.Get("ETag"))
		assert.Less(t, len(zipped.Body), len(plain.Body))
		reader, err := gzip.NewReader(bytes.NewReader([]byte(zipped.Body)))
		require.NoError(t, err)
		unzipped, err := io.ReadAll(reader)
		require.NoError(t, err)
		assert.Equal(t, plain.Body, string(unzipped), path)
	}
	assert.Equal(t, "gzip", servertest.Do(t, "GET", s.URL+"/client.js", "", "Accept-Encoding", "gzip").Header.Get("Content-Encoding"))
	assert.Equal(t, "text/javascript; charset=utf-8", servertest.Do(t, "GET", s.URL+"/client.js", "").Header.Get("Content-Type"))
}

func TestOnlyWhatPagesAreMadeOfIsServed(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/assets/", "/assets/none.js", "/assets/fleet.html", "/assets/../pages.go", "/assets/%2e%2e/client/livecomments.js"} {
		assert.Equal(t, 404, servertest.Do(t, "GET", s.URL+path, "").Status, path)
	}
	servertest.Refused(t, "POST", s.URL+"/watch", "", 405, "/watch does not take POST")
}

func TestThePagesLearnWhereTheOtherPartsAre(t *testing.T) {
	assert.JSONEq(t, `{"reader":"","comment":""}`, servertest.Do(t, "GET", start(t).URL+"/pages.json", "").Body)
	s := start(t, func(cfg *api.Config) {
		cfg.Pages.ReaderURL, cfg.Pages.CommentURL = "https://live.example.org/", "http://localhost:3000/api"
	})
	assert.JSONEq(t, `{"reader":"https://live.example.org","comment":"http://localhost:3000/api"}`, servertest.Do(t, "GET", s.URL+"/pages.json", "").Body)
}

func TestWithoutPagesThereIsNothingOfThem(t *testing.T) {
	s := start(t, func(cfg *api.Config) { cfg.Pages.Pages = false })
	for _, path := range []string{"/", "/watch", "/client.js", "/pages.json", "/fleet", "/viewers?videoid=v"} {
		assert.Equal(t, 404, servertest.Do(t, "GET", s.URL+path, "").Status, path)
	}
	assert.Equal(t, 200, servertest.Do(t, "GET", s.URL+"/statistics", "").Status)
}

// report posts a report, which must be taken.
func (s *statistics) report(t *testing.T, path, body string) {
	t.Helper()
	answer := servertest.Do(t, "POST", s.reports+path, body)
	require.Equal(t, 200, answer.Status, answer.Body)
}

func TestTheViewersOfAVideoAreThoseThatReadersReport(t *testing.T) {
	s := start(t)
	viewers := func(video string) string { return servertest.Do(t, "GET", s.URL+"/viewers?videoid="+video, "").Body }
	assert.JSONEq(t, `{"videoid":"v","viewers":0,"exact":false}`, viewers("v"), "no reader has reported")

	s.report(t, "/reader-api-statistics", `{"instanceId":"r1","activeConnections":5,"audiences":{"v":3,"w":2}}`)
	s.report(t, "/reader-api-statistics", `{"instanceId":"r2","activeConnections":1,"audiences":{"v":1}}`)
	s.report(t, "/reader-api-statistics", `{"instanceId":"r3"}`)
	assert.JSONEq(t, `{"videoid":"v","viewers":4,"exact":true}`, viewers("v"))
	assert.JSONEq(t, `{"videoid":"nobodys","viewers":0,"exact":true}`, viewers("nobodys"))

	var list []string
	for i := range 150 {
		list = append(list, fmt.Sprintf(`"v%d":%d`, i, 1000-i))
	}
	s.report(t, "/reader-api-statistics", `{"instanceId":"r2","activeConnections":100000,"audiences":{`+strings.Join(list, ",")+`}}`)
	assert.JSONEq(t, `{"videoid":"v","viewers":3,"exact":false}`, viewers("v"), "it may have viewers at r2, of which it is not among the largest")
	assert.JSONEq(t, `{"videoid":"v99","viewers":901,"exact":true}`, viewers("v99"))

	for _, bad := range []string{"", "?videoid=", "?videoid=a%20b"} {
		servertest.Refused(t, "GET", s.URL+"/viewers"+bad, "", 400, "videoid must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
	}
}

func TestTheStreamOfTheFleetSaysWhatTheStatisticsSay(t *testing.T) {
	s := start(t)
	for i := range 3 {
		n := 10 * (i + 1)
		s.report(t, "/comment-api-statistics", fmt.Sprintf(`{"instanceId":"c","totalComments":%d,"commentsByVideo":{"v":%d}}`, n, n))
		for _, reader := range []string{"r2", "r1"} {
			s.report(t, "/reader-api-statistics", fmt.Sprintf(`{"instanceId":%q,"activeConnections":2,"subscribedTopics":["v"],"messagesReceived":%d,
				"messagesSent":%d,"gaps":1,"routing":"hash","misplaced":1,"audiences":{"v":2},"osProcess":7,"cpuSeconds":%d,"memoryBytes":4096}`, reader, n, 2*n, i))
		}
		s.report(t, "/client-statistics", `{"clientId":"c","viewers":4,"connected":3,"missing":1,"duplicates":2,"misordered":3,"corrupt":4,"pending":5,"gaps":6,
			"reconnects":7,"failedPosts":8,"latencyMillis":{"p50":1,"p99":2,"max":3,"count":9}}`)
	}
	totals := s.totals(t)
	stream := servertest.Watch(t, "GET", s.URL+"/fleet", "")
	assert.Equal(t, "text/event-stream", stream.Header.Get("Content-Type"))
	assert.Equal(t, "past", stream.Expect(t).Type)
	event := stream.Expect(t)
	assert.Empty(t, event.Type)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(event.Data), &got))

	all := totals.ReaderAPIs
	for name, want := range map[string]any{
		"routing": "hash", "readerCount": all.TotalReaders, "viewers": all.TotalActiveConnections, "channels": all.AllSubscribedTopicCount,
		"comments": totals.Rates.CommentsPerSecond, "deliveries": totals.Rates.DeliveriesPerSecond, "messages": totals.Rates.ReceivedPerSecond,
		"copies": totals.Rates.CopiesPerComment, "storedComments": totals.StoredComments,
	} {
		if number, is := want.(float64); is {
			assert.Positive(t, number, name)
		}
		assertEqualRounded(t, want, got[name], name)
	}
	assert.JSONEq(t, `{"p50":1,"p99":2,"max":3,"count":9}`, encoded(t, got["latency"]))
	assert.JSONEq(t, `{"missing":1,"duplicates":2,"misordered":3,"corrupt":4,"pending":5,"gaps":6,"reconnects":7,"failedPosts":8}`, encoded(t, got["verification"]))
	assert.JSONEq(t, `{"viewers":4,"connected":3}`, encoded(t, got["clients"]))

	readers := got["readers"].([]any)
	require.Len(t, readers, 2)
	for i, reader := range all.Readers {
		for name, want := range map[string]any{
			"id": fmt.Sprintf("r%d", i+1), "viewers": 2, "channels": 1, "share": reader.SubscriptionShare, "messagesIn": reader.ReceivedPerSecond,
			"deliveries": reader.DeliveriesPerSecond, "cpu": reader.CPU, "memory": 4096, "shared": true, "routing": "hash", "misplaced": 1, "gaps": 1,
		} {
			assertEqualRounded(t, want, readers[i].(map[string]any)[name], name)
		}
	}
	hot := got["hot"].([]any)
	require.Len(t, hot, 1)
	rate := totals.CommentAPI.CommentsPerSecondByVideo["v"]
	for name, want := range map[string]any{"video": "v", "viewers": 4, "readers": 2, "comments": rate, "deliveries": 4 * rate, "skipped": 0} {
		assertEqualRounded(t, want, hot[0].(map[string]any)[name], name)
	}
}

// assertEqualRounded compares a figure with one of a snapshot, which has four digits after the point.
func assertEqualRounded(t *testing.T, want, got any, name string) {
	t.Helper()
	if _, isNumber := got.(float64); isNumber {
		assert.InDelta(t, want, got, 0.5001e-4, name)
		return
	}
	assert.Equal(t, want, got, name)
}

func encoded(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}

func TestWhatIsNotKnownIsNullAndNotNought(t *testing.T) {
	stream := servertest.Watch(t, "GET", start(t).URL+"/fleet", "")
	stream.Expect(t)
	var got map[string]any
	require.NoError(t, json.Unmarshal([]byte(stream.Expect(t).Data), &got))
	for _, name := range []string{"copies", "random", "latency", "verification", "clients"} {
		assert.Contains(t, got, name)
		assert.Nil(t, got[name], name)
	}
	assert.Equal(t, []any{}, got["readers"])
	assert.Equal(t, []any{}, got["hot"])
}

func TestMorePagesThanMayAreTurnedAwayUntilOneIsClosed(t *testing.T) {
	s := start(t, func(cfg *api.Config) { cfg.Pages.Watchers = 2 })
	first := servertest.Watch(t, "GET", s.URL+"/fleet", "")
	servertest.Watch(t, "GET", s.URL+"/fleet", "")
	servertest.Refused(t, "GET", s.URL+"/fleet", "", 503, "as many pages show the fleet as may (PAGES_WATCHERS=2); try again")
	assert.NotEmpty(t, servertest.Do(t, "GET", s.URL+"/fleet", "").Header.Get("Retry-After"))
	first.Close()
	require.Eventually(t, func() bool { return s.Status("/fleet") == 200 }, 10*time.Second, 10*time.Millisecond)
}

func TestTheStreamsOfPagesEndWhenTheServiceStops(t *testing.T) {
	s := start(t)
	stream := servertest.Watch(t, "GET", s.URL+"/fleet", "")
	stream.Expect(t)
	require.NoError(t, s.Stop())
	for range stream.Events { // what came until then
	}
	stream.ExpectEnd(t)
}
