package broker

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestRedisHostIsAHostAnAddressOrEitherWithAPort(t *testing.T) {
	for host, address := range map[string]string{
		"localhost": "localhost:6379", "redis.example.org": "redis.example.org:6379", "redis:6380": "redis:6380",
		"10.0.0.1": "10.0.0.1:6379", "10.0.0.1:6380": "10.0.0.1:6380",
		"::1": "[::1]:6379", "[::1]": "[::1]:6379", "[::1]:6380": "[::1]:6380",
		"fd00::1:2": "[fd00::1:2]:6379", "fe80::1%eth0": "[fe80::1%eth0]:6379", "::ffff:10.0.0.1": "[::ffff:10.0.0.1]:6379",
	} {
		options, err := Config{RedisHost: host}.options()
		require.NoError(t, err, host)
		assert.Equal(t, address, options.Addr, host)
	}
	for _, host := range []string{"", ":6379", "redis:", "redis:port", "redis:0", "redis:65536", "[::1", "::1]", "[::1]:", "[redis]", "a:b:c", "redis/1", "user@redis"} {
		_, err := Config{RedisHost: host}.options()
		require.EqualError(t, err, "REDIS_HOST="+host+" is not of the form host or host:port", host)
	}
}

func TestAPrefixThatNamesCannotHaveIsRefused(t *testing.T) {
	for _, prefix := range []string{"a/b", "a:b", "a@1", "a*", "{a}", "a b", "ä", string(make([]byte, 65))} {
		_, err := newNames(prefix, "0")
		require.ErrorContains(t, err, "REDIS_PREFIX=", prefix)
	}
}
