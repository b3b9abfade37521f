package broker

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/livecomments/livecomments/services/shared/config"
)

// Config says where Redis is and how much of the past it keeps.
type Config struct {
	RedisURL      string        `env:"REDIS_URL" help:"Redis to use, as redis://user:password@host:port/db, rediss:// for TLS. Comes before REDIS_HOST."`
	RedisHost     string        `env:"REDIS_HOST" default:"localhost" help:"Redis to use when REDIS_URL is not set: a host or host:port."`
	RedisPassword string        `env:"REDIS_PASSWORD" help:"Password, where the URL carries none."`
	RedisCAFile   string        `env:"REDIS_CA_FILE" help:"File with the certificates, in PEM, of the authorities that may have signed Redis' own, in place of the public ones. For rediss:// only, as the next two. All three are read anew for each connection."`
	RedisCertFile string        `env:"REDIS_CERT_FILE" help:"File with the certificate, in PEM, that Redis is shown where it asks for one."`
	RedisKeyFile  string        `env:"REDIS_KEY_FILE" help:"File with the key of that certificate, in PEM."`
	RedisPrefix   string        `env:"REDIS_PREFIX" help:"What the names of channels and keys begin with, for several installations in one database of Redis: up to 64 characters of A-Z a-z 0-9 . _ -. Installations in different databases need none."`
	HistoryLength int           `env:"HISTORY_LENGTH" default:"1000" validate:"min=1,max=100000" help:"Comments of a video that its history keeps, approximately."`
	HistoryTTL    time.Duration `env:"HISTORY_TTL" default:"24h" validate:"min=1s" help:"A video's history is dropped this long after its last comment. The same for the Comment API and the readers."`

	// PoolSize bounds the connections for queries; 0 for the default of the library.
	PoolSize int `kong:"-" validate:"-"`
}

func (c Config) options() (*redis.Options, error) {
	var options *redis.Options
	if c.RedisURL != "" {
		parsed, err := redis.ParseURL(c.RedisURL)
		if err != nil {
			// The error of the URL parser repeats the URL, and so the password in it.
			return nil, config.Errorf("REDIS_URL is not of the form redis://user:password@host:port/db")
		}
		options = parsed
	} else {
		address, ok := hostAddress(c.RedisHost)
		if !ok {
			return nil, config.Errorf("REDIS_HOST=%s is not of the form host or host:port", c.RedisHost)
		}
		options = &redis.Options{Addr: address}
	}
	if options.Password == "" {
		options.Password = c.RedisPassword
	}
	options.PoolSize = c.PoolSize
	// A publish whose answer got lost may have happened: sent again by the library, the comment would appear twice.
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.DialTimeout = 2 * time.Second
	options.ReadTimeout = 3 * time.Second
	options.WriteTimeout = 3 * time.Second
	options.ContextTimeoutEnabled = true
	base := options.TLSConfig
	if _, err := c.tlsConfig(base); err != nil {
		return nil, err
	}
	// Dead peers that send no FIN are noticed by the kernel; the default of five minutes is longer than any viewer waits.
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, options.DialTimeout)
		defer cancel()
		connection, err := dialer.DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		if base == nil {
			return rawReads(connection), nil
		}
		return c.secure(ctx, connection, base)
	}
	// Naming the library to Redis takes a right of its own, and Redis 7.2.
	options.DisableIdentity = true
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}

const redisPort = "6379"

// hostAddress is the host:port that a host, an IPv6 address with or without brackets, or a host:port means.
func hostAddress(host string) (address string, ok bool) {
	bare := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
	}
	if _, err := netip.ParseAddr(bare); err == nil {
		return net.JoinHostPort(bare, redisPort), true
	}
	if !strings.Contains(host, ":") {
		return net.JoinHostPort(host, redisPort), host != "" && !strings.ContainsAny(host, "[]/@ ")
	}
	name, port, err := net.SplitHostPort(host)
	if err != nil || name == "" {
		return "", false
	}
	number, err := strconv.ParseUint(port, 10, 16)
	return host, err == nil && number > 0
}
