package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// statistics stands for the Statistics API: it keeps what readers have reported last.
type statistics struct {
	*httptest.Server
	t      *testing.T
	redis  *brokertest.Redis
	mu     sync.Mutex
	latest map[string]reports.Reader
}

func takeReports(t *testing.T, redis *brokertest.Redis) *statistics {
	t.Helper()
	s := &statistics{t: t, redis: redis, latest: map[string]reports.Reader{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var report reports.Reader
		if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.latest[report.InstanceID] = report
	}))
	t.Cleanup(s.Close)
	return s
}

// start starts a reader that reports.
func (s *statistics) start(name, routing string, change func(*api.Config)) *servertest.Service {
	s.t.Helper()
	return placing(s.t, s.redis, name, routing, func(cfg *api.Config) {
		cfg.Reports.StatisticsAPIURL, cfg.Reports.URL, cfg.Reports.Interval = s.URL, s.URL, 100*time.Millisecond
		cfg.Router.MoveRate = 1
		change(cfg)
	})
}

// await returns what a reader says of placement when that is as it should be.
func (s *statistics) await(name string, asItShould func(reports.Placement) bool) (p reports.Placement) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		p = s.latest[name].Placement
		return asItShould(p)
	}, 20*time.Second, 20*time.Millisecond, "%s", name)
	return p
}

// watchAll opens a stream of each of so many videos.
func watchAll(t *testing.T, door *servertest.Service, videos int) {
	t.Helper()
	for i := range videos {
		servertest.Watch(t, "GET", fmt.Sprintf("%s/connect?userid=me&videoid=v%d", door.URL, i), "")
	}
}

func TestTheStatisticsSayWhomAReaderHasSentOnAndMoved(t *testing.T) {
	s := takeReports(t, brokertest.Embedded(t))
	door := s.start("reader-1", "hash", defaults)
	watchAll(t, door, 20)
	s.await("reader-1", func(p reports.Placement) bool { return p == reports.Placement{Routing: "hash", FleetReaders: 1} })

	s.start("reader-2", "hash", defaults)
	s.await("reader-1", func(p reports.Placement) bool { return p.FleetReaders == 2 })
	watchAll(t, door, 20)
	// Each video has a viewer from before the other came, whose stream moves, and one that is sent on.
	sentOn := s.await("reader-1", func(p reports.Placement) bool { return p.Moved > 0 && p.Moved == p.Redirects && p.Misplaced == 0 }).Redirects
	assert.Less(t, sentOn, uint64(20), "some belong here")
	s.await("reader-1", func(p reports.Placement) bool {
		return p == reports.Placement{Routing: "hash", Redirects: sentOn, Moved: sentOn, FleetReaders: 2}
	})
	s.await("reader-2", func(p reports.Placement) bool {
		return p == reports.Placement{Routing: "hash", Placed: sentOn, FleetReaders: 2}
	})
}

func TestTheStatisticsSayHowManyStreamsAreWhereTheyDoNotBelong(t *testing.T) {
	s := takeReports(t, brokertest.Embedded(t))
	door := s.start("reader-1", "hash", func(cfg *api.Config) { cfg.Router.MoveRate = 0 })
	watchAll(t, door, 20)
	// Nobody is at the address of the other.
	s.start("reader-2", "hash", func(cfg *api.Config) { cfg.Router.AdvertiseURL = "http://127.0.0.1:1" })
	astray := s.await("reader-1", func(p reports.Placement) bool { return p.Misplaced > 0 }).Misplaced

	ask := func(i int) int { return door.Status(fmt.Sprintf("/connect?userid=me&videoid=v%d", i)) }
	for i := range 20 {
		if ask(i) == 0 {
			require.Equal(t, http.StatusOK, ask(i), "the second time it is taken")
		}
	}
	want := reports.Placement{Routing: "hash", Redirects: uint64(astray), Kept: uint64(astray), Misplaced: astray, FleetReaders: 2}
	s.await("reader-1", func(p reports.Placement) bool { return p == want })
}

func TestTheStatisticsSayThatViewersStayWhereverTheyConnect(t *testing.T) {
	s := takeReports(t, brokertest.Embedded(t))
	watchAll(t, s.start("reader-1", "random", defaults), 1)
	s.await("reader-1", func(p reports.Placement) bool { return p == reports.Placement{Routing: "random"} })
}

func TestTheStatisticsSayHowManyWatchEachVideoAndWhatTheReadersProcessUses(t *testing.T) {
	s := takeReports(t, brokertest.Embedded(t))
	readers := []*servertest.Service{s.start("reader-1", "random", defaults), s.start("reader-2", "random", defaults)}
	watchAll(t, readers[0], 2)
	watchAll(t, readers[0], 1)
	watchAll(t, readers[1], 1)
	var first, second reports.Reader
	require.Eventually(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		first, second = s.latest["reader-1"], s.latest["reader-2"]
		return first.ActiveConnections == 3 && second.ActiveConnections == 1 && len(second.Audiences) == 1
	}, 20*time.Second, 20*time.Millisecond)
	assert.Equal(t, map[string]uint64{"v0": 2, "v1": 1}, first.Audiences)
	assert.Equal(t, map[string]uint64{"v0": 1}, second.Audiences)
	assert.Positive(t, first.OSProcess)
	assert.Equal(t, first.OSProcess, second.OSProcess, "both run in the process of this test")
	assert.NotEqual(t, first.Process, second.Process)
	if runtime.GOOS == "linux" {
		assert.Positive(t, first.CPUSeconds)
		assert.Greater(t, first.MemoryBytes, uint64(1<<20))
	}
}
