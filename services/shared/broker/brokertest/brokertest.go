// Package brokertest gives tests a Redis of their own, which they can take down and bring back: the embedded one and a
// real redis-server.
package brokertest

import (
	"context"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
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
	server := miniredis.NewMiniRedis()
	require.NoError(t, server.Start())
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

// Real starts a redis-server that writes every command to disk before it answers, for the length of the test.
func Real(t *testing.T) *Redis {
	t.Helper()
	binary, err := exec.LookPath("redis-server")
	require.NoError(t, err, "this test needs redis-server: `make prepare` installs it")
	address, dir := freeAddress(t), t.TempDir()
	_, port, err := net.SplitHostPort(address)
	require.NoError(t, err)
	var process *exec.Cmd
	stop := func() {
		if process != nil {
			_ = process.Process.Kill()
			_ = process.Wait()
			process = nil
		}
	}
	start := func() {
		process = exec.Command(binary, "--bind", "127.0.0.1", "--port", port, "--dir", dir,
			"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--daemonize", "no")
		require.NoError(t, process.Start())
		awaitPong(t, address)
	}
	start()
	t.Cleanup(stop)
	return &Redis{Address: address, Start: start, Stop: stop}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = listener.Close() }()
	return "127.0.0.1:" + strconv.Itoa(listener.Addr().(*net.TCPAddr).Port)
}

func awaitPong(t *testing.T, address string) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: address, MaxRetries: -1, DialerRetries: 1})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool { return client.Ping(context.Background()).Err() == nil }, 10*time.Second, 10*time.Millisecond)
}
