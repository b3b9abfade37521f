package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tmaxmax/go-sse"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/statistics/feed"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// site serves a feed over connections that hold nothing back: what a page does not read is not written.
type site struct {
	t           *testing.T
	tally       *tally.Tally
	redis       func() (broker.Info, error)
	connections chan net.Conn
}

// on runs test in a bubble of time that passes when nothing else is to do.
func on(t *testing.T, test func(t *testing.T, s *site)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &site{t: t, connections: make(chan net.Conn), redis: func() (broker.Info, error) { return broker.Info{}, nil }}
		s.tally = tally.New(tally.Config{StaleAfter: time.Hour, Window: 30 * time.Second, MaxInstances: 1000}, time.Now, zap.NewNop())
		ctx, stop := context.WithCancel(t.Context())
		draining := make(chan struct{})
		f := feed.New(s.tally, func(context.Context) (broker.Info, error) { return s.redis() }, 10, draining)
		ended := make(chan struct{})
		go func() { defer close(ended); f.Run(ctx) }()
		engine := gin.New()
		engine.GET("/fleet", f.Serve)
		web := &http.Server{Handler: engine, ReadHeaderTimeout: time.Second}
		go func() { _ = web.Serve(s) }()
		defer func() {
			close(draining)
			_ = web.Close()
			stop()
			<-ended
		}()
		test(t, s)
	})
}

func (s *site) Accept() (net.Conn, error) {
	connection, open := <-s.connections
	if !open {
		return nil, net.ErrClosed
	}
	return connection, nil
}

func (s *site) Close() error   { close(s.connections); return nil }
func (s *site) Addr() net.Addr { return &net.TCPAddr{} }

// ask asks for the stream and reads nothing.
func (s *site) ask() net.Conn {
	s.t.Helper()
	page, served := net.Pipe()
	s.connections <- served
	_, err := page.Write([]byte("GET /fleet HTTP/1.0\r\n\r\n"))
	require.NoError(s.t, err)
	return page
}

// open opens the page and passes on what comes.
func (s *site) open() (events chan sse.Event) {
	s.t.Helper()
	page := s.ask()
	events = make(chan sse.Event, 10_000)
	go func() {
		defer close(events)
		// What comes before the first empty line is the header, whose lines no event has.
		for event, err := range sse.Read(page, &sse.ReadConfig{MaxEventSize: 1 << 20}) {
			if err != nil {
				return
			}
			events <- event
		}
	}()
	s.t.Cleanup(func() { _ = page.Close() })
	return events
}

// past opens the page for a moment and returns the samples that it begins with.
func (s *site) past() (samples []map[string]any) {
	s.t.Helper()
	event := <-s.open()
	require.Equal(s.t, "past", event.Type)
	var data struct{ Samples []map[string]any }
	require.NoError(s.t, json.Unmarshal([]byte(event.Data), &data))
	return data.Samples
}

// next is the next snapshot.
func next(t *testing.T, events chan sse.Event) (snapshot map[string]any) {
	t.Helper()
	for event := range events {
		if event.Type == "" {
			require.NoError(t, json.Unmarshal([]byte(event.Data), &snapshot))
			return snapshot
		}
	}
	require.FailNow(t, "the stream ended")
	return nil
}

func (s *site) report(readers ...reports.Reader) {
	s.t.Helper()
	for _, reader := range readers {
		require.NoError(s.t, s.tally.TakeReader(reader))
	}
}

func TestAPageGetsASnapshotAtOnceAndThenOneASecond(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		time.Sleep(10*time.Second + 300*time.Millisecond)
		began, first := time.Now(), s.open()
		next(t, first)
		assert.Zero(t, time.Since(began))
		next(t, first)
		assert.Equal(t, 700*time.Millisecond, time.Since(began))
		for i := range 10 {
			next(t, first)
			assert.Equal(t, time.Duration(i+1)*time.Second, time.Since(began)-700*time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		second := s.open()
		assert.InDelta(t, time.Now().Add(-500*time.Millisecond).UnixMilli(), next(t, second)["at"], 0, "that of the others")
		assert.Equal(t, next(t, second), next(t, first), "one for all")
	})
}

func TestAPageThatIsSlowMissesSnapshotsAndIsCutAndKeepsNobodyWaiting(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		stuck := s.ask()
		fast := s.open()
		began := time.Now()
		for range 30 {
			next(t, fast)
		}
		assert.Equal(t, 29*time.Second, time.Since(began).Truncate(time.Second))
		_, err := stuck.Write([]byte("x"))
		assert.Error(t, err, "it was cut")
	})
}

func TestThePastIsOfTheLastFiveMinutesAlsoWhenNobodyLooked(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		assert.Empty(t, s.past())
		began := time.Now()
		for second := range 400 {
			if second%2 == 0 {
				require.NoError(t, s.tally.TakeComment(reports.CommentAPI{InstanceID: "c", TotalComments: uint64(100 * second)}))
				s.report(reports.Reader{InstanceID: "r", MessagesReceived: uint64(200 * second), MessagesSent: uint64(500 * second)})
			}
			if second == 395 {
				require.NoError(t, s.tally.TakeClient(reports.Client{ClientID: "v", LatencyMillis: reports.Latency{P99: 7.5, Count: 1}}))
			}
			time.Sleep(time.Second)
		}
		synctest.Wait()
		samples := s.past()
		require.Len(t, samples, 300)
		last := float64(began.Add(400 * time.Second).UnixMilli())
		assert.InDelta(t, last-299_000, samples[0]["at"], 0)
		assert.Nil(t, samples[0]["p99"])
		assert.Equal(t, map[string]any{"at": last, "comments": 100.0, "messages": 200.0, "deliveries": 500.0, "copies": 2.0, "p99": 7.5}, samples[299])
	})
}

func TestAReportThatIsMadeUpStopsNoPage(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		s.tally.SetTopics(1, nil)
		s.report(reports.Reader{InstanceID: "r", ActiveConnections: 1, SubscribedTopicCount: 1, Audiences: map[string]uint64{"a": 0}, Usage: reports.Usage{CPUSeconds: 1e308}})
		require.NoError(t, s.tally.TakeClient(reports.Client{ClientID: "v", LatencyMillis: reports.Latency{P50: -1e305, P99: 1e305, Max: 1e305, Count: 1}}))
		time.Sleep(2 * time.Second)
		s.report(reports.Reader{InstanceID: "r", ActiveConnections: 1, SubscribedTopicCount: 1, Audiences: map[string]uint64{"a": 0}, MessagesSent: 1 << 63})
		events := s.open()
		for range 5 {
			assert.NotNil(t, next(t, events)["latency"])
		}
	})
}

func TestASnapshotOfAGreatFleetIsSmall(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		const readers, channels = 200, 90_000
		s.tally.SetTopics(channels, nil)
		for _, at := range []uint64{0, 1} {
			for i := range readers {
				audiences := map[string]uint64{}
				for j := range reports.ListCap {
					audiences[fmt.Sprintf("%s-%05d", strings.Repeat("long", 10), (i*317+j*7)%channels)] = uint64(1000 + j)
				}
				s.report(reports.Reader{
					InstanceID: fmt.Sprintf("livecomments-reader-7f9c6d5b8d-%05d", (i*7919)%100_000), Audiences: audiences,
					ActiveConnections: 10_000 + i, SubscribedTopicCount: 70_000 + i, MessagesReceived: at * 123_456_789, MessagesSent: at * 1_234_567_890,
					Placement: reports.Placement{Routing: "bounded", Misplaced: 100 + i}, Gaps: 1_000_000,
					Usage: reports.Usage{OSProcess: uint64(i + 1), CPUSeconds: float64(at) * 2.71828, MemoryBytes: 1 << 30},
				})
			}
			time.Sleep(7 * time.Second)
		}
		events := s.open()
		<-events
		event := <-events
		t.Logf("%d bytes", len(event.Data))
		assert.Less(t, len(event.Data), 60_000)
		var snapshot struct {
			Readers []struct{ ID string }
			Hot     []struct{}
		}
		require.NoError(t, json.Unmarshal([]byte(event.Data), &snapshot))
		require.Len(t, snapshot.Readers, readers)
		assert.True(t, slices.IsSortedFunc(snapshot.Readers, func(a, b struct{ ID string }) int { return strings.Compare(a.ID, b.ID) }))
		assert.Len(t, snapshot.Hot, 10)
	})
}

func TestRandomIsWhatTheSameViewersWouldCostAtAnyReader(t *testing.T) {
	for name, test := range map[string]struct {
		readers       []reports.Reader
		channels      int
		share, copies float64
	}{
		"all audiences are known": {
			// a: 3 viewers of 2 readers, 1-(1/2)^3; b: 1, at one of them.
			[]reports.Reader{
				{InstanceID: "r1", ActiveConnections: 3, SubscribedTopicCount: 1, Audiences: map[string]uint64{"a": 3}},
				{InstanceID: "r2", ActiveConnections: 1, SubscribedTopicCount: 1, Audiences: map[string]uint64{"b": 1}},
			}, 2, (7.0/8 + 1.0/2) / 2, (3*2*7.0/8 + 1*2*1.0/2) / 4,
		},
		"an audience is spread over readers": {
			[]reports.Reader{
				{InstanceID: "r1", ActiveConnections: 2, SubscribedTopicCount: 1, Audiences: map[string]uint64{"a": 2}},
				{InstanceID: "r2", ActiveConnections: 1, SubscribedTopicCount: 1, Audiences: map[string]uint64{"a": 1}},
			}, 1, 7.0 / 8, 2 * 7.0 / 8,
		},
		"the others are taken for equal ones": {
			// Beside a, 4 viewers are left for 2 channels.
			[]reports.Reader{
				{InstanceID: "r1", ActiveConnections: 7, SubscribedTopicCount: 3, Audiences: map[string]uint64{"a": 3}},
				{InstanceID: "r2"},
			}, 3, (7.0/8 + 2*3.0/4) / 3, (3*2*7.0/8 + 4*2*3.0/4) / 7,
		},
		"one reader has everything": {
			[]reports.Reader{{InstanceID: "r1", ActiveConnections: 3, SubscribedTopicCount: 1, Audiences: map[string]uint64{"a": 3}}}, 1, 1, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			on(t, func(t *testing.T, s *site) {
				s.tally.SetTopics(test.channels, nil)
				for second := range uint64(2) {
					require.NoError(t, s.tally.TakeComment(reports.CommentAPI{InstanceID: "c", TotalComments: 100 * second}))
					time.Sleep(time.Second)
				}
				s.report(test.readers...)
				random := next(t, s.open())["random"].(map[string]any)
				assert.InDelta(t, test.share, random["share"], 1e-4)
				assert.InDelta(t, test.copies, random["copies"], 1e-4)
				assert.InDelta(t, 100*test.copies, random["messages"], 1e-2)
			})
		})
	}
}

func TestTheHottestVideosAreThoseWithTheMostDeliveries(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		comments := func(second uint64) map[string]uint64 { return map[string]uint64{"busy": 90 * second, "quiet": second} }
		for second := range uint64(2) {
			require.NoError(t, s.tally.TakeComment(reports.CommentAPI{InstanceID: "c", TotalComments: 91 * second, CommentsByVideo: comments(second)}))
			time.Sleep(time.Second)
		}
		s.report(
			reports.Reader{InstanceID: "r1", Audiences: map[string]uint64{"busy": 5, "quiet": 50, "silent": 60}},
			reports.Reader{InstanceID: "r2", Audiences: map[string]uint64{"busy": 5}},
		)
		assert.Equal(t, []any{
			map[string]any{"video": "busy", "viewers": 10.0, "readers": 2.0, "comments": 90.0, "deliveries": 900.0, "skipped": 0.0},
			map[string]any{"video": "quiet", "viewers": 50.0, "readers": 1.0, "comments": 1.0, "deliveries": 50.0, "skipped": 0.0},
			map[string]any{"video": "silent", "viewers": 60.0, "readers": 1.0, "comments": 0.0, "deliveries": 0.0, "skipped": 0.0},
		}, next(t, s.open())["hot"])
	})
}

func TestRedisIsAskedOnlyWhileSomebodyLooks(t *testing.T) {
	on(t, func(t *testing.T, s *site) {
		asked, down := 0, atomic.Bool{}
		memory, commands, cpu := uint64(1<<20), uint64(0), 0.0
		s.redis = func() (broker.Info, error) {
			asked++
			if down.Load() {
				return broker.Info{}, errors.New("refused")
			}
			commands, cpu = commands+50, cpu+0.25
			now, used := commands, cpu
			return broker.Info{Version: "8.0.2", Memory: &memory, Commands: &now, CPU: &used, Channels: new(uint64)}, nil
		}
		time.Sleep(time.Minute)
		assert.Zero(t, asked)

		events := s.open()
		assert.Equal(t, map[string]any{"up": nil, "memory": nil, "commands": nil, "cpu": nil, "channels": nil, "version": nil}, next(t, events)["redis"])
		time.Sleep(3500 * time.Millisecond)
		for range 4 {
			next(t, events)
		}
		assert.Equal(t, map[string]any{"up": true, "memory": 1048576.0, "commands": 50.0, "cpu": 0.25, "channels": 0.0, "version": "8.0.2"}, next(t, events)["redis"])

		down.Store(true)
		next(t, events)
		next(t, events)
		assert.Equal(t, map[string]any{"up": false, "memory": nil, "commands": nil, "cpu": nil, "channels": nil, "version": nil}, next(t, events)["redis"])
	})
}
