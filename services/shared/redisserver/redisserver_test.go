package redisserver_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/shared/redisserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T, args ...string) *redisserver.Server {
	t.Helper()
	s, err := redisserver.New(t.TempDir(), args...)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	return s
}

func TestAKilledServerComesBackAtItsAddressWithItsData(t *testing.T) {
	s := newServer(t)
	require.NoError(t, s.Start(t.Context()))
	client := redis.NewClient(&redis.Options{Addr: s.Address})
	defer func() { _ = client.Close() }()
	require.NoError(t, client.Set(t.Context(), "key", "value", 0).Err())
	s.Kill()
	require.Error(t, client.Ping(t.Context()).Err())
	require.NoError(t, s.Start(t.Context()))
	assert.Equal(t, "value", client.Get(t.Context(), "key").Val())
}

func TestAServerCanBeTheReplicaOfAnother(t *testing.T) {
	master := newServer(t)
	require.NoError(t, master.Start(t.Context()))
	_, port, err := net.SplitHostPort(master.Address)
	require.NoError(t, err)
	replica := newServer(t, "--replicaof", "127.0.0.1 "+port)
	require.NoError(t, replica.Start(t.Context()))
	client := redis.NewClient(&redis.Options{Addr: replica.Address})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool {
		return strings.Contains(client.Info(t.Context(), "replication").Val(), "master_link_status:up")
	}, 30*time.Second, 10*time.Millisecond)
}

func TestAServerThatWantsAPasswordCountsAsStarted(t *testing.T) {
	require.NoError(t, newServer(t, "--requirepass", "secret").Start(t.Context()))
}

func TestAServerThatCannotStartSaysWhy(t *testing.T) {
	err := newServer(t, "--no-such-option", "1").Start(t.Context())
	require.ErrorContains(t, err, "redis-server has ended: ")
	assert.ErrorContains(t, err, "Bad directive")
}

func TestItsVersionIsKnown(t *testing.T) {
	version, err := redisserver.Version(t.Context())
	require.NoError(t, err)
	assert.Regexp(t, `^\d+\.\d+`, version)
}
