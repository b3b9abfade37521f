// Package broker is the way to Redis: it publishes comments, subscribes to the videos' channels and reads their
// recent past.
//
// A video has a Pub/Sub channel, over which its comments are delivered, and a stream, which holds the recent ones.
// One script appends to the stream and publishes, so that the order of the ids is the order of delivery:
//
//	Publish ── script ──┬── XADD    comments:{video:v}  ──► History
//	                    └── PUBLISH video:v "<id> <json>" ──► Subscription
package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"github.com/redis/go-redis/v9/maintnotifications"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/config"
)

// ErrUnavailable says that Redis did not take or give what was asked of it: it is down, still loading, read-only, full
// or out of reach. The cause is wrapped beside it.
var ErrUnavailable = errors.New("redis is unavailable")

// Config says where Redis is and how much of the past it keeps.
type Config struct {
	RedisURL      string        `env:"REDIS_URL" help:"Redis to use, as redis://user:password@host:port/db, rediss:// for TLS. Comes before REDIS_HOST."`
	RedisHost     string        `env:"REDIS_HOST" default:"localhost" help:"Redis to use when REDIS_URL is not set: a host or host:port."`
	RedisPassword string        `env:"REDIS_PASSWORD" help:"Password, where the URL carries none."`
	HistoryLength int           `env:"HISTORY_LENGTH" default:"1000" validate:"min=1,max=100000" help:"Comments of a video that its history keeps, approximately."`
	HistoryTTL    time.Duration `env:"HISTORY_TTL" default:"24h" validate:"min=1s" help:"A video's history is dropped this long after its last comment."`
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
		address := c.RedisHost
		if !strings.Contains(address, ":") {
			address = net.JoinHostPort(address, "6379")
		}
		host, port, err := net.SplitHostPort(address)
		number, errPort := strconv.ParseUint(port, 10, 16)
		if err != nil || errPort != nil || number == 0 || host == "" {
			return nil, config.Errorf("REDIS_HOST=%s is not of the form host or host:port", c.RedisHost)
		}
		options = &redis.Options{Addr: address}
	}
	if options.Password == "" {
		options.Password = c.RedisPassword
	}
	// A publish whose answer got lost may have happened: sent again by the library, the comment would appear twice.
	options.MaxRetries = -1
	options.DialerRetries = 1
	options.DialTimeout = 2 * time.Second
	options.ReadTimeout = 3 * time.Second
	options.WriteTimeout = 3 * time.Second
	options.ContextTimeoutEnabled = true
	// Dead peers that send no FIN are noticed by the kernel; the default of five minutes is longer than any viewer waits.
	dialer := net.Dialer{Timeout: options.DialTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3}}
	if options.TLSConfig == nil {
		options.Dialer = func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return hush(connection), nil
		}
	}
	options.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return options, nil
}

// Broker is a connection pool to one Redis. It is safe for concurrent use.
type Broker struct {
	redis  *redis.Client
	cfg    Config
	log    *zap.Logger
	target string
}

// Open prepares the way to Redis; it does not connect. The error names the setting that is wrong.
func Open(cfg Config, log *zap.Logger) (*Broker, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	silenceLibrary()
	return &Broker{redis: redis.NewClient(options), cfg: cfg, log: log, target: options.Addr}, nil
}

// silenceLibrary turns off the log that go-redis writes to standard error on its own: what it says of lost connections is
// in the errors that it returns, and so in our log.
var silenceLibrary = sync.OnceFunc(logging.Disable)

// Close gives the connections up.
func (b *Broker) Close() error { return b.redis.Close() }

// Await returns when Redis has answered for the first time, or with the error of ctx. While it waits it says so.
func (b *Broker) Await(ctx context.Context) error {
	const pause, every = 250 * time.Millisecond, 20
	for attempt := 0; ; attempt++ {
		err := b.redis.Ping(ctx).Err()
		if err == nil {
			b.log.Info("Redis answers", zap.String("redis", b.target))
			return nil
		}
		if attempt%every == 0 && ctx.Err() == nil {
			b.log.Warn("waiting for Redis", zap.String("redis", b.target), zap.Error(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// publish stores and publishes in one step. The first entry of a history is marked, so that a reader can tell whether
// what is left of it begins at its beginning. KEYS: the history. ARGV: the comment's JSON, the channel, the history's
// length and its time to live in milliseconds.
var publish = redis.NewScript(`
local first = redis.call('EXISTS', KEYS[1]) == 0 and '1' or '0'
local id = redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'c', ARGV[1], 'first', first)
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PUBLISH', ARGV[2], id .. ' ' .. ARGV[1])
return id`)

// Publish stores c in its video's history and publishes it to whoever is subscribed. It returns c with its ID. After an
// error, which wraps [ErrUnavailable], the comment may nonetheless have been stored: its answer can have been lost.
func (b *Broker) Publish(ctx context.Context, c comment.Comment) (comment.Comment, error) {
	c.ID = comment.ID{}
	data, err := json.Marshal(c)
	if err != nil {
		return c, err
	}
	answer, err := publish.Run(ctx, b.redis, []string{comment.HistoryKey(c.VideoID)},
		data, comment.Channel(c.VideoID), b.cfg.HistoryLength, b.cfg.HistoryTTL.Milliseconds()).Text()
	if err != nil {
		return c, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	c.ID, err = comment.ParseID(answer)
	return c, err
}

// Topics counts the channels that somebody is subscribed to, exactly, and names up to most of them with the number of
// readers subscribed to each.
func (b *Broker) Topics(ctx context.Context, most int) (count int, subscribers map[string]int64, err error) {
	channels, err := b.redis.PubSubChannels(ctx, comment.ChannelPattern).Result()
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	subscribers = map[string]int64{}
	if len(channels) == 0 {
		return 0, subscribers, nil
	}
	numbers, err := b.redis.PubSubNumSub(ctx, channels[:min(most, len(channels))]...).Result()
	if err != nil {
		return 0, nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	for channel, n := range numbers {
		subscribers[comment.VideoOfChannel(channel)] = n
	}
	return len(channels), subscribers, nil
}
