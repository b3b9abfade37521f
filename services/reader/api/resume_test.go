package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestViewersWhoResumeWhileRedisIsFrozenWaitNoLongerThanTheyMust(t *testing.T) {
	const viewers = 30
	server := brokertest.Real(t)
	entrance := newDoor(t, server.Address)
	r := start(t, entrance.redis(), func(cfg *api.Config) { cfg.Feed.SubscribeTimeout = 500 * time.Millisecond })
	posted := poster(t, server, asItIs).posts("v", 100)
	r.watch("v", "")
	entrance.swallow.Store(true)
	// One after the other, each until the library gives up, they would take minutes.
	client := http.Client{Timeout: 30 * time.Second}
	var coming sync.WaitGroup
	for range viewers {
		coming.Go(func() {
			response, err := client.Get(r.URL + "/connect?userid=me&videoid=v&lastEventId=" + posted[0].ID)
			if assert.NoError(t, err) {
				assert.Equal(t, http.StatusServiceUnavailable, response.StatusCode)
				_ = response.Body.Close()
			}
		})
	}
	coming.Wait()
	entrance.swallow.Store(false)
}

func TestViewersWhoResumeAtOnceReadTheHistoryOnce(t *testing.T) {
	const viewers = 100
	server := brokertest.Real(t)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	tests := map[string]struct {
		posted int
		// from is the comment that viewer i has seen last.
		from func(i int) int
		trim int64
		// ranges is the most that are read of histories. One read takes two: what is asked for, and the oldest. There is some to
		// spare: when this machine is so slow that the reader takes its subscription for lost, it reads once more.
		ranges int
	}{
		"with the same comment":          {posted: 100, from: func(int) int { return 10 }, ranges: 4},
		"with different comments":        {posted: 150, from: func(i int) int { return i }, ranges: 60},
		"with a comment that is trimmed": {posted: 100, from: func(int) int { return 10 }, trim: 50, ranges: 4},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := start(t, server, func(cfg *api.Config) {
				// However slow this machine is, what was read is kept, and nobody is turned away.
				cfg.Feed.BufferAge, cfg.Feed.SubscribeTimeout = time.Hour, time.Minute
			})
			video := strings.ReplaceAll(name, " ", "-")
			posted := r.posts(video, test.posted)
			if test.trim > 0 {
				require.NoError(t, client.XTrimMaxLen(t.Context(), r.poster.HistoryKey(video), test.trim).Err())
			}
			r.watch(video, "") // the reader knows the video, and holds the last few
			require.NoError(t, client.ConfigResetStat(t.Context()).Err())
			var coming sync.WaitGroup
			for i := range viewers {
				coming.Go(func() {
					s := servertest.Watch(t, "GET", r.URL+"/connect?userid=me&videoid="+video, "", "Last-Event-ID", posted[test.from(i)].ID)
					_ = s.Expect(t)
					if test.trim > 0 {
						assert.Equal(t, "gap", s.Expect(t).Type)
						expect(t, s, posted[int64(len(posted))-test.trim:]...)
						return
					}
					expect(t, s, posted[test.from(i)+1:]...)
				})
			}
			coming.Wait()
			info, err := client.InfoMap(t.Context(), "commandstats").Result()
			require.NoError(t, err)
			var ranges int
			_, err = fmt.Sscanf(info["Commandstats"]["cmdstat_xrange"], "calls=%d,", &ranges)
			require.NoError(t, err)
			assert.LessOrEqual(t, ranges, test.ranges)
		})
	}
}
