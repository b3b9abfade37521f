package api_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/comment/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestWhoLeavesBeforeTheStatisticsComeIsCountedAs499AndNotAsAFaultOfTheStatisticsAPI(t *testing.T) {
	asked := make(chan struct{})
	statistics := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			asked <- struct{}{}
			<-r.Context().Done()
		}
	}))
	defer statistics.Close()
	s := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.Reports.StatisticsAPIURL = statistics.URL }).AwaitReady(t)

	ctx, leave := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/statistics", nil)
	require.NoError(t, err)
	left := make(chan error)
	go func() {
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		response, err := client.Do(request)
		if err == nil {
			_ = response.Body.Close()
		}
		left <- err
	}()
	<-asked
	leave()
	require.ErrorIs(t, <-left, context.Canceled)
	s.AwaitMetric(t, `livecomments_http_request_duration_seconds_count{method="GET",route="/statistics",status="499"} 1`)
	assert.NotContains(t, servertest.Do(t, "GET", s.URL+"/metrics", "").Body, `status="502"`)
}
