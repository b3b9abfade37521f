// Package brokertest gives tests a Redis of their own, which they can take down and bring back: the embedded one and a
// real redis-server. A test may have several. Tests that run at the same time do not get in each other's way.
package brokertest

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// Redis is one server. What it has acknowledged outlives Stop and Start.
type Redis struct {
	// Address is its host:port, the same after a restart.
	Address string
	// Start brings it up again and returns when it answers; Stop takes it down at once, without a goodbye.
	Start, Stop func()
}

// URL is what REDIS_URL would say.
func (r *Redis) URL() string { return "redis://" + r.Address }

// Each runs test once against the embedded Redis and once against a real redis-server.
func Each(t *testing.T, test func(t *testing.T, redis *Redis)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { test(t, Embedded(t)) })
	t.Run("redis-server", func(t *testing.T) { test(t, Real(t)) })
}

// Embedded starts a miniredis for the length of the test.
func Embedded(t *testing.T) *Redis {
	t.Helper()
	reserved, err := port.Reserve()
	require.NoError(t, err)
	t.Cleanup(reserved.Release)
	server := miniredis.NewMiniRedis()
	require.NoError(t, server.StartAddr(reserved.Address()))
	up := true
	stop := func() {
		if up {
			server.Close()
			up = false
		}
	}
	t.Cleanup(stop)
	return &Redis{
		Address: server.Addr(),
		Start:   func() { require.NoError(t, server.Restart()); up = true },
		Stop:    stop,
	}
}

// Real starts a redis-server that writes every command to disk before it answers, for the length of the test. args are
// further arguments of redis-server, such as those that make it the replica of another.
func Real(t *testing.T, args ...string) *Redis {
	t.Helper()
	server, err := redisserver.New(t.TempDir(), args...)
	require.NoError(t, err)
	t.Cleanup(server.Close)
	start := func() {
		limited, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		require.NoError(t, server.Start(limited))
	}
	start()
	return &Redis{Address: server.Address, Start: start, Stop: server.Kill}
}
