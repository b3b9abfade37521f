package fleet_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/client/fleet"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestViewersPostAsOftenAsTheyWereLastTold(t *testing.T) {
	system := deaf(t, http.StatusCreated)
	cfg := servertest.Defaults(t, func(cfg *fleet.Config) {
		cfg.Reports.StatisticsAPIURL, cfg.CommentAPIURL, cfg.ReaderAPIURLs = "", system.URL, []string{system.URL}
		cfg.Viewers, cfg.Videos, cfg.CommentsPerMinute, cfg.SettleTimeout = 2, 1, 0, 0
	})
	client := servertest.Start(t, &cfg.Server, "client", func(ctx context.Context) error { return fleet.Run(ctx, cfg) })
	client.AwaitReady(t)
	client.AwaitMetric(t, "livecomments_client_connected 2")
	tell := func(body string) servertest.Answer {
		return servertest.Do(t, http.MethodPut, client.URL+"/comments-per-minute", body)
	}
	posted := func() string {
		_, after, _ := strings.Cut(servertest.Do(t, http.MethodGet, client.URL+"/metrics", "").Body, "\nlivecomments_client_posted_total ")
		count, _, _ := strings.Cut(after, "\n")
		return count
	}
	assert.Equal(t, "0", posted())
	assert.Equal(t, http.StatusOK, tell(`{"commentsPerMinute":3000}`).Status)
	require.Eventually(t, func() bool { return posted() != "0" }, 10*time.Second, 10*time.Millisecond)

	for _, bad := range []string{`{}`, `{"commentsPerMinute":-1}`, `{"commentsPerMinute":"x"}`} {
		assert.Equal(t, http.StatusBadRequest, tell(bad).Status, bad)
	}
	assert.JSONEq(t, `{"commentsPerMinute":0}`, tell(`{"commentsPerMinute":0}`).Body)
	require.Eventually(t, func() bool {
		before := posted()
		time.Sleep(300 * time.Millisecond)
		return posted() == before
	}, 10*time.Second, time.Millisecond, "a hundred a second were posted before")
}
