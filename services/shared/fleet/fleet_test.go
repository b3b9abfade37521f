package fleet_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/fleet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader is a member of a fleet.
type reader struct {
	*fleet.Fleet
	t        *testing.T
	state    atomic.Pointer[fleet.State]
	logged   *observer.ObservedLogs
	registry *prometheus.Registry
	stop     func()
	smallest atomic.Int64 // fleet that it has seen since watchSize
}

func join(t *testing.T, redisURL, name, address string, change ...func(*broker.Config)) *reader {
	t.Helper()
	cfg := broker.Config{RedisURL: redisURL, HistoryLength: 10, HistoryTTL: time.Hour}
	for _, change := range change {
		change(&cfg)
	}
	core, logged := observer.New(zap.WarnLevel)
	b, err := broker.Open(cfg, zap.New(core))
	require.NoError(t, err)
	r := &reader{t: t, logged: logged, registry: prometheus.NewRegistry()}
	r.state.Store(&fleet.State{Capacity: 100})
	r.smallest.Store(1000)
	r.Fleet = fleet.New(b, zap.New(core), name, address, "bounded/0.25", func() fleet.State { return *r.state.Load() }, func(view *fleet.View) {
		r.smallest.Store(min(r.smallest.Load(), int64(len(view.Members))))
	})
	r.Register(r.registry)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		_ = b.Close()
	})
	t.Cleanup(r.stop)
	return r
}

// names are those of the fleet as the reader sees it.
func (r *reader) names() string {
	var names []string
	if view := r.View(); view != nil {
		for _, m := range view.Members {
			names = append(names, m.Instance)
		}
	}
	return strings.Join(names, " ")
}

func (r *reader) member(name string) fleet.Member {
	for _, m := range r.View().Members {
		if m.Instance == name {
			return m
		}
	}
	return fleet.Member{}
}

func (r *reader) awaits(names string) {
	r.t.Helper()
	require.Eventually(r.t, func() bool { return r.names() == names }, 15*time.Second, 10*time.Millisecond, "%q is not %q", r.names(), names)
}

func (r *reader) gauge(name, label string) float64 {
	r.t.Helper()
	families, err := r.registry.Gather()
	require.NoError(r.t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetGauge().GetValue()
			}
		}
	}
	require.FailNow(r.t, "there is no such gauge", name)
	return 0
}

func address(n int) string { return fmt.Sprintf("http://10.0.0.%d:4000", n) }

func TestReadersKnowEachOther(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		a, b, c := join(t, server.URL(), "a", address(1)), join(t, server.URL(), "b", address(2)), join(t, server.URL(), "c", address(3))
		for _, r := range []*reader{a, b, c} {
			require.NoError(t, r.Await(t.Context()))
			r.awaits("a b c")
		}
		assert.NotEmpty(t, a.Secret())
		assert.Equal(t, a.Secret(), b.Secret())
		large := []fleet.Audience{{Video: 1<<64 - 1, Viewers: 30}, {Video: 0, Viewers: 8}}
		b.state.Store(&fleet.State{Viewers: 40, Misplaced: 3, Capacity: 500, Arrived: 7, Large: large})
		require.Eventually(t, func() bool { return a.member("b").Viewers == 40 }, 5*time.Second, 10*time.Millisecond)
		got := a.member("b")
		assert.Equal(t, []any{address(2), 3, 500, uint64(7), large, "bounded/0.25"}, []any{got.Address, got.Misplaced, got.Capacity, got.Arrived, got.Large, got.Policy})

		a.Sent("b")
		a.Sent("b")
		a.Sent("nobody")
		c.Sent("b")
		require.Eventually(t, func() bool { return b.View().SentHere == 3 }, 5*time.Second, 10*time.Millisecond)
		assert.Zero(t, c.View().SentHere)

		b.Drain()
		require.Eventually(t, func() bool { return a.member("b").Draining }, 2*time.Second, 10*time.Millisecond)
		c.stop()
		a.awaits("a b")
		assert.InDelta(t, 2, a.gauge("livecomments_reader_fleet_readers", ""), 0)
	})
}

func TestDeliveriesAreAnnouncedAsARate(t *testing.T) {
	t.Parallel()
	a := join(t, brokertest.Embedded(t).URL(), "a", address(1))
	began := time.Now()
	require.Eventually(t, func() bool {
		a.state.Store(&fleet.State{Deliveries: uint64(1000 * time.Since(began).Seconds())})
		rate := a.View()
		return rate != nil && rate.Steady && rate.Members[0].Deliveries > 500 && rate.Members[0].Deliveries < 1500
	}, 15*time.Second, 5*time.Millisecond)
}

func TestWhoIsSilentIsGone(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		a := join(t, server.URL(), "a", address(1))
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		now, err := client.Time(t.Context()).Result()
		require.NoError(t, err)
		entries := map[string]string{
			"dead":     fmt.Sprintf("%d 1 a - 5 0 100 0 0 bounded/0.25 http://10.0.0.9:4000", now.UnixMilli()),
			"older":    fmt.Sprintf("%d 1 a - 5 0 100 0 0 bounded/0.25 http://10.0.0.8:4000", now.Add(-time.Hour).UnixMilli()),
			"tomorrow": fmt.Sprintf("%d 1 a - 5 0 100 0 0 bounded/0.25 http://10.0.0.7:4000", now.Add(24*time.Hour).UnixMilli()),
			"newer":    fmt.Sprintf("%d 2 something else", now.UnixMilli()),
			"broken":   "x",
			"minus":    fmt.Sprintf("%d 1 a - -5 0 100 0 0 bounded/0.25 http://10.0.0.9:4000", now.UnixMilli()),
			"empty":    "",
		}
		require.NoError(t, client.HSet(t.Context(), "readers:{fleet}", entries).Err())
		a.awaits("a dead")
		a.awaits("a")
		require.Eventually(t, func() bool { return !client.HExists(t.Context(), "readers:{fleet}", "older").Val() }, 5*time.Second, 10*time.Millisecond,
			"what is long gone is removed")
		a.stop()
		assert.False(t, client.HExists(t.Context(), "readers:{fleet}", "a").Val(), "who leaves says so")
	})
}

func TestTheLastKnownFleetStaysWhileRedisIsAwayAndWhenItComesBackEmpty(t *testing.T) {
	t.Parallel()
	server := brokertest.Real(t)
	a, b := join(t, server.URL(), "a", address(1)), join(t, server.URL(), "b", address(2))
	a.awaits("a b")
	require.Eventually(t, func() bool { return a.View().Steady }, 15*time.Second, 10*time.Millisecond)
	server.Stop()
	time.Sleep(4 * time.Second)
	assert.Equal(t, "a b", a.names())
	a.smallest.Store(1000)
	server.Start()
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	require.NoError(t, client.FlushAll(t.Context()).Err())
	read := a.View().Read
	require.Eventually(t, func() bool { return a.View().Read.After(read) && a.View().Steady }, 15*time.Second, 10*time.Millisecond)
	assert.EqualValues(t, 2, a.smallest.Load(), "nobody was taken for gone who only had no time to come back")
	assert.Equal(t, a.Secret(), b.Secret())
	b.stop()
	a.awaits("a")
}

func TestClocksChangeNothing(t *testing.T) {
	t.Parallel()
	for name, by := range map[string]time.Duration{"set forward": 10 * time.Minute, "set back": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := miniredis.RunT(t)
			server.SetTime(time.Now().Add(-time.Hour)) // differs from the readers' clocks anyway
			tick := time.Now()
			var offset atomic.Int64
			offset.Store(int64(-time.Hour))
			done := make(chan struct{})
			var ticking sync.WaitGroup
			ticking.Go(func() {
				for {
					select {
					case <-done:
						return
					case <-time.After(10 * time.Millisecond):
						server.SetTime(tick.Add(time.Since(tick) + time.Duration(offset.Load())))
					}
				}
			})
			defer ticking.Wait()
			defer close(done)
			url := "redis://" + server.Addr()
			a, b := join(t, url, "a", address(1)), join(t, url, "b", address(2))
			a.awaits("a b")
			b.awaits("a b")
			require.Eventually(t, func() bool { return a.View().Steady && b.View().Steady }, 15*time.Second, 10*time.Millisecond)
			a.smallest.Store(1000)
			offset.Add(int64(by))
			require.Eventually(t, func() bool { return !a.View().Steady }, 5*time.Second, 5*time.Millisecond, "it is seen")
			require.Eventually(t, func() bool { return a.View().Steady }, 15*time.Second, 10*time.Millisecond)
			assert.EqualValues(t, 2, a.smallest.Load())
			assert.WithinDuration(t, time.Now().Add(time.Duration(offset.Load())), a.Now(), time.Second, "the fleet's time is Redis'")
			b.stop()
			a.awaits("a")
		})
	}
}

func TestTwoReadersWithOneAddressOrOneNameAreWarnedOf(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	for _, test := range []struct{ of, otherName, otherAddress, says string }{
		{"address", "b", address(1), "another reader has the same ADVERTISE_URL: viewers that belong to one of the two come to the other"},
		{"instance", "a", address(2), "another reader has the same INSTANCE_ID: viewers are placed on one of the two, by chance; give each its own"},
	} {
		t.Run(test.of, func(t *testing.T) {
			t.Parallel()
			prefix := func(cfg *broker.Config) { cfg.RedisPrefix = test.of }
			a := join(t, server.URL(), "a", address(1), prefix)
			other := join(t, server.URL(), test.otherName, test.otherAddress, prefix)
			assert.InDelta(t, 0, a.gauge("livecomments_reader_fleet_conflicts", test.of), 0)
			for _, r := range []*reader{a, other} {
				require.Eventually(t, func() bool { return r.gauge("livecomments_reader_fleet_conflicts", test.of) == 1 }, 30*time.Second, 20*time.Millisecond)
				assert.Equal(t, 1, r.logged.FilterMessage(test.says).Len())
			}
			other.stop()
			require.Eventually(t, func() bool { return a.gauge("livecomments_reader_fleet_conflicts", test.of) == 0 }, 30*time.Second, 20*time.Millisecond)
		})
	}
}

func TestAReaderThatRestartsIsNoConflict(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	a := join(t, server.URL(), "a", address(1))
	a.awaits("a")
	for range 2 {
		again := join(t, server.URL(), "a", address(1))
		again.awaits("a")
		require.Eventually(t, func() bool { return again.View().Steady }, 15*time.Second, 10*time.Millisecond)
		again.stop()
	}
	other := join(t, server.URL(), "b", address(1)) // as a pod that took the place of one
	a.stop()
	require.Eventually(t, func() bool { return other.View() != nil && other.View().Steady }, 15*time.Second, 10*time.Millisecond)
	assert.InDelta(t, 0, other.gauge("livecomments_reader_fleet_conflicts", "address"), 0)
}

func TestAReaderToWhichNobodyComesSaysThatItCannotBeReached(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	sender, lost, found := join(t, server.URL(), "a", address(1)), join(t, server.URL(), "b", address(2)), join(t, server.URL(), "c", address(3))
	sender.awaits("a b c")
	for range 30 {
		sender.Sent("b")
		sender.Sent("c")
		time.Sleep(100 * time.Millisecond)
	}
	found.state.Store(&fleet.State{Arrived: 1})
	require.Eventually(t, func() bool { return sender.member("b").Unreachable }, 20*time.Second, 20*time.Millisecond)
	assert.InDelta(t, 1, lost.gauge("livecomments_reader_unreachable", ""), 0)
	assert.InDelta(t, 30, lost.gauge("livecomments_reader_sent_here", ""), 0)
	assert.Equal(t, 1, lost.logged.Len())
	assert.False(t, sender.member("c").Unreachable)
	assert.False(t, sender.member("a").Unreachable)
}

func TestTwoInstallationsHaveFleetsOfTheirOwn(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	shop := join(t, server.URL(), "a", address(1), func(cfg *broker.Config) { cfg.RedisPrefix = "shop" })
	other := join(t, server.URL()+"/2", "b", address(2))
	plain := join(t, server.URL(), "c", address(3))
	for _, r := range []*reader{shop, other, plain} {
		require.NoError(t, r.Await(t.Context()))
	}
	assert.Equal(t, []string{"a", "b", "c"}, []string{shop.names(), other.names(), plain.names()})
	assert.NotEqual(t, shop.Secret(), plain.Secret())
}
