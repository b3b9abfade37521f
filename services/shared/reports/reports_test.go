package reports_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/shared/reports"
)

func TestAPartReportsAgainWhenTheStatisticsAPIComesBack(t *testing.T) {
	var mu sync.Mutex
	var taken []string
	failing := false
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if failing {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, _ := io.ReadAll(r.Body)
		taken = append(taken, r.URL.Path+" "+string(body))
	}))
	defer api.Close()
	set := func(fail bool) {
		mu.Lock()
		defer mu.Unlock()
		failing, taken = fail, nil
	}
	some := func() bool { mu.Lock(); defer mu.Unlock(); return len(taken) > 1 }

	logged, logs := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		cfg := reports.Config{StatisticsAPIURL: "http://elsewhere.invalid", URL: api.URL + "/", Interval: 10 * time.Millisecond}
		reports.Run(ctx, cfg, zap.New(logged), func() []reports.Report { return []reports.Report{&reports.Reader{InstanceID: "r", Gaps: 7}} })
	}()
	require.Eventually(t, some, 5*time.Second, time.Millisecond)
	mu.Lock()
	assert.Regexp(t, `^/reader-api-statistics {"instanceId":"r","process":[1-9][0-9]*,.*"gaps":7,.*}$`, taken[0])
	assert.Equal(t, taken[0], taken[1], "a process keeps its number")
	mu.Unlock()
	set(true)
	require.Eventually(t, func() bool { return logs.Len() == 1 }, 5*time.Second, time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	set(false)
	require.Eventually(t, some, 5*time.Second, time.Millisecond)
	cancel()
	<-done
	messages := []string{}
	for _, entry := range logs.All() {
		messages = append(messages, entry.Message)
	}
	assert.Equal(t, []string{"reports are not being taken", "reports are being taken again"}, messages, "an outage is one line, not one a report")
}

func TestWithoutAStatisticsAPINothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports.Run(t.Context(), reports.Config{URL: "http://localhost:5001"}, zap.NewNop(), func() []reports.Report {
			t.Error("collected")
			return nil
		})
	})
}

// refusing answers nothing and remembers where each request was sent.
type refusing struct{ sent chan string }

func (r refusing) RoundTrip(request *http.Request) (*http.Response, error) {
	select {
	case r.sent <- request.URL.String():
	default:
	}
	return nil, errors.New("refused")
}

func TestReportsGoToTheirPortOnTheHostOfTheStatisticsAPIUnlessToldOtherwise(t *testing.T) {
	for _, test := range []struct{ api, url, target string }{
		{"http://localhost:5000", "", "http://localhost:5001/client-statistics"},
		{"http://statistics/", "", "http://statistics:5001/client-statistics"},
		{"http://[::1]:8002/at/a/path?with=query", "", "http://[::1]:5001/client-statistics"},
		{"https://user:secret@statistics.example", "", "https://user:secret@statistics.example:5001/client-statistics"},
		{"http://localhost:5000", "http://reports:80", "http://reports:80/client-statistics"},
		{"http://localhost:5000", "http://gateway/reports/", "http://gateway/reports/client-statistics"},
	} {
		t.Run(test.api+" "+test.url, func(t *testing.T) {
			sender, usual := refusing{make(chan string, 1)}, http.DefaultClient.Transport
			http.DefaultClient.Transport = sender
			defer func() { http.DefaultClient.Transport = usual }()
			ctx, stop := context.WithCancel(t.Context())
			stop()
			cfg := reports.Config{StatisticsAPIURL: test.api, URL: test.url, Interval: time.Second}
			reports.Run(ctx, cfg, zap.NewNop(), func() []reports.Report { return []reports.Report{&reports.Client{ClientID: "c"}} })
			assert.Equal(t, test.target, <-sender.sent)
		})
	}
}

func TestABadReportIsNamedByItsFieldInOneSentence(t *testing.T) {
	const form = " must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"
	for want, report := range map[string]reports.Report{
		"instanceId is required":               &reports.Reader{},
		"clientId is required":                 &reports.Client{},
		"instanceId" + form:                    &reports.Reader{InstanceID: "r\"} 1\n"},
		"clientId" + form:                      &reports.Client{ClientID: strings.Repeat("c", 129)},
		"activeConnections must be at least 0": &reports.Reader{InstanceID: "r", ActiveConnections: -1},
		"activeTopicCount must be at least 0":  &reports.CommentAPI{ActiveTopicCount: -1},
		"viewers must be at least 0":           &reports.Client{ClientID: "c", Viewers: -1},
		"misplaced must be at least 0":         &reports.Reader{InstanceID: "r", Placement: reports.Placement{Misplaced: -1}},
		"fleetReaders must be at least 0":      &reports.Reader{InstanceID: "r", Placement: reports.Placement{FleetReaders: -1}},
		"routing" + form:                       &reports.Reader{InstanceID: "r", Placement: reports.Placement{Routing: "by chance"}},
	} {
		require.EqualError(t, report.Validate(), want)
	}
	require.EqualError(t, (&reports.CommentAPI{InstanceID: "comment 1"}).Validate(), "instanceId"+form)
	for _, report := range []reports.Report{
		&reports.CommentAPI{}, &reports.CommentAPI{InstanceID: "c"}, &reports.Reader{InstanceID: "host.example:4000"},
		&reports.Client{ClientID: strings.Repeat("c", 128)},
	} {
		assert.NoError(t, report.Validate())
	}
}

func TestTopKeepsTheLargest(t *testing.T) {
	counts := map[string]uint64{}
	for i := range 1000 {
		counts[fmt.Sprintf("v%03d", i)] = uint64(i / 2)
	}
	top := reports.Top(maps.All(counts))
	assert.Len(t, top, reports.ListCap)
	for i := 900; i < 1000; i++ {
		assert.Contains(t, top, fmt.Sprintf("v%03d", i))
	}
	few := map[string]uint64{"a": 1}
	assert.Equal(t, few, reports.Top(maps.All(few)))
}
