package reports_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
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
		reports.Run(ctx, reports.Config{URL: api.URL + "/", Interval: 10 * time.Millisecond}, zap.New(logged), "/client-statistics",
			func(context.Context) []any { return []any{map[string]int{"a": 1}} })
	}()
	require.Eventually(t, some, 5*time.Second, time.Millisecond)
	mu.Lock()
	assert.Equal(t, `/client-statistics {"a":1}`, taken[0])
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
	assert.Equal(t, []string{"statistics are not being taken", "statistics are being taken again"}, messages, "an outage is one line, not one a report")
}

func TestWithoutAStatisticsAPINothingIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reports.Run(t.Context(), reports.Config{}, zap.NewNop(), "/x", func(context.Context) []any {
			t.Error("collected")
			return nil
		})
	})
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
