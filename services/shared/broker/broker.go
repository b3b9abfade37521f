// Package broker is the way to Redis, where comments are stored: it publishes them, subscribes to the videos' channels and
// reads their histories.
//
// A video has a Pub/Sub channel, over which its messages are delivered, and a stream, which holds the recent ones.
// One script appends to the stream and publishes, so that the order of the ids is the order of delivery:
//
//	Publish ── script ──┬── XADD    comments:{video:v}       ──► History
//	                    ├── SET     comments:{video:v}:head  ──► Heads
//	                    └── PUBLISH video:v                  ──► Subscription
//
// Each message names its predecessor, so that a receiver sees when one is missing.
package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// ErrUnavailable says that Redis did not take or give what was asked of it: it is down, still loading, read-only, full
// or out of reach. The cause is wrapped beside it.
var ErrUnavailable = errors.New("redis is unavailable")

// ErrForbidden says that Redis answers and does not let this user do what was asked. It wraps [ErrUnavailable], and the cause
// is wrapped beside it.
var ErrForbidden = fmt.Errorf("%w: it does not permit this user what is needed", ErrUnavailable)

// Broker is a connection pool to one Redis. It is safe for concurrent use.
type Broker struct {
	redis  *redis.Client
	names  names
	cfg    Config
	log    *zap.Logger
	target string
	rights rights
}

// Open prepares the way to Redis; it does not connect. The error names the setting that is wrong.
func Open(cfg Config, log *zap.Logger) (*Broker, error) {
	options, err := cfg.options()
	if err != nil {
		return nil, err
	}
	names, err := newNames(cfg.RedisPrefix, strconv.Itoa(options.DB))
	if err != nil {
		return nil, err
	}
	silenceLibrary()
	return &Broker{redis: redis.NewClient(options), names: names, cfg: cfg, log: log, target: options.Addr}, nil
}

// silenceLibrary turns off the log that go-redis writes to standard error on its own: what it says of lost connections is
// in the errors that it returns, and so in our log.
var silenceLibrary = sync.OnceFunc(logging.Disable)

// Close closes the connections.
func (b *Broker) Close() error { return b.redis.Close() }

// Channel is the name of a video's Pub/Sub channel.
func (b *Broker) Channel(videoID string) string { return b.names.channel(videoID) }

// HistoryKey is the name of a video's stream.
func (b *Broker) HistoryKey(videoID string) string { return b.names.history(videoID) }

// HeadKey is the name of the string that holds the id of a video's newest message.
func (b *Broker) HeadKey(videoID string) string { return b.names.head(videoID) }

// publish stores and publishes in one step. What cannot be published is not stored: Redis undoes nothing when a script
// fails, so the script does. KEYS: the history and its head. ARGV: version, kind, data, the channel, the history's length,
// its time to live in milliseconds, and whether to undo it all in any case.
var publish = redis.NewScript(`
local history, head = KEYS[1], KEYS[2]
local version, kind, data, channel, length, ttl, undo = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local exists = redis.call('EXISTS', history) == 1
local last = redis.call('GET', head)
if undo or exists and not last then
  local entry = redis.call('XREVRANGE', history, '+', '-', 'COUNT', 1)[1]
  last = entry and entry[1]
end
local previous = exists and last or '0-0'
local id = redis.call('XADD', history, 'MAXLEN', '~', length, '*', 'v', version, 'k', kind, 'p', previous, 'd', data)
local function failed(answer) return type(answer) == 'table' and answer.err end
local answer = redis.pcall('PEXPIRE', history, ttl)
if not failed(answer) then
  answer = redis.pcall('SET', head, id, 'PX', ttl)
end
if not failed(answer) then
  answer = redis.pcall('PUBLISH', channel, version .. ' ' .. kind .. ' ' .. id .. ' ' .. previous .. ' ' .. data)
end
if failed(answer) or undo then
  redis.call('XDEL', history, id)
  if exists then
    redis.pcall('SET', head, previous, 'PX', ttl)
  else
    redis.call('DEL', history, head)
  end
end
return failed(answer) and answer or id`)

// Publish stores c in its video's history and publishes it to whoever is subscribed. It returns c with its ID. Where Redis is
// the reason, its error wraps [ErrUnavailable]. After an error the comment may nonetheless have been stored, where the answer
// was lost. Where Redis has answered that it will not, as with [ErrForbidden], it is not stored.
func (b *Broker) Publish(ctx context.Context, c comment.Comment) (comment.Comment, error) {
	c.ID = comment.ID{}
	data, err := c.Encode()
	if err != nil {
		return c, err
	}
	answer, err := b.publish(ctx, c.VideoID, data).Text()
	if err := b.outcome(publishing, err); err != nil {
		return c, err
	}
	c.ID, err = comment.ParseID(answer)
	return c, err
}

func (b *Broker) publish(ctx context.Context, video, data string, undo ...any) *redis.Cmd {
	arguments := []any{version, string(Comment), data, b.names.channel(video), b.cfg.HistoryLength, b.cfg.HistoryTTL.Milliseconds()}
	return publish.Run(ctx, b.redis, []string{b.names.history(video), b.names.head(video)}, append(arguments, undo...)...)
}

// Topics counts the channels that somebody is subscribed to, exactly, and names up to most of them with the number of
// readers subscribed to each.
func (b *Broker) Topics(ctx context.Context, most int) (count int, subscribers map[string]int64, err error) {
	channels, err := b.redis.PubSubChannels(ctx, b.names.channels()).Result()
	if err := b.outcome(listingTopics, err); err != nil {
		return 0, nil, err
	}
	channels = slices.DeleteFunc(channels, func(channel string) bool { return channel == b.names.channel(probe) })
	subscribers = map[string]int64{}
	if len(channels) == 0 {
		return 0, subscribers, nil
	}
	numbers, err := b.redis.PubSubNumSub(ctx, channels[:min(most, len(channels))]...).Result()
	if err := b.outcome(listingTopics, err); err != nil {
		return 0, nil, err
	}
	for channel, n := range numbers {
		subscribers[b.names.video(channel)] = n
	}
	return len(channels), subscribers, nil
}

// unavailable is the error for what Redis, or the way to it, has answered to an operation.
func (b *Broker) unavailable(o operation, err error) error {
	if forbidden(err) {
		b.rights.refused(o)
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// outcome is unavailable for an error, and nil where there is none.
func (b *Broker) outcome(o operation, err error) error {
	if err != nil {
		return b.unavailable(o, err)
	}
	b.rights.granted(o)
	return nil
}

// Await returns when Redis has answered for the first time and permits what use needs, or with the error of ctx. While it
// waits it says so, in the log every few seconds, and to tell, which may be nil, at each attempt.
func (b *Broker) Await(ctx context.Context, use Use, tell func(reason string)) error {
	const pause, every = 250 * time.Millisecond, 20
	for attempt := 0; ; attempt++ {
		err := b.check(ctx, use)
		if err == nil {
			b.log.Info("Redis answers", zap.String("redis", b.target))
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if attempt%every == 0 {
			b.log.Warn("waiting for Redis", zap.String("redis", b.target), zap.Error(err))
		}
		if tell != nil {
			tell(waiting(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

func waiting(err error) string {
	if errors.Is(err, ErrForbidden) {
		return "waiting for Redis, which does not permit what is needed; the log says why"
	}
	return "waiting for Redis"
}
