package broker

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Announcement is what one reader writes into the list of readers.
type Announcement struct {
	Instance, Text string
	// First says that this is the first announcement of its process: what was sent to the instance before does not count.
	First bool
	// Sent counts the viewers that were sent to other instances since the last announcement.
	Sent map[string]int
	// Forget names instances whose entries are removed, if they are older than Age.
	Forget []string
	Age    time.Duration
	// Secret is what the fleet shares from now on, if it shares none yet.
	Secret string
}

// Entry is an instance's announcement, and when it was written by Redis' clock.
type Entry struct {
	At   time.Time
	Text string
}

// Roster is the list of readers as an announcement has found it.
type Roster struct {
	// Now is the time by Redis' clock.
	Now time.Time
	// Entries are by instance, and include the announcement itself.
	Entries map[string]Entry
	// Previous is what the instance has announced before; empty where it has not.
	Previous string
	// SentHere counts the viewers that others say they have sent to this instance.
	SentHere int64
	// Secret is what the fleet shares.
	Secret string
}

// announce writes an entry with Redis' time before it, and keeps the fleet's books. KEYS: the entries, how many viewers were
// sent to each, the secret. ARGV: the instance, its text, "first" or "", the proposed secret, the age of entries to forget
// in milliseconds, how many of them are named, their names, and pairs of an instance and the viewers sent to it. With the
// age "leave" the entry is removed again: that of a reader that ends, and a probe's.
var announce = `
local entries, sent, secret = KEYS[1], KEYS[2], KEYS[3]
local instance, text, first, proposed, age, names = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local previous = redis.call('HGET', entries, instance)
redis.call('HSET', entries, instance, string.format('%.0f', now) .. ' ' .. text)
if first ~= '' then redis.call('HDEL', sent, instance) end
for i = 7, 6 + names do
  local entry = redis.call('HGET', entries, ARGV[i])
  if entry and now - tonumber(string.match(entry, '^%d+') or 0) > tonumber(age) then
    redis.call('HDEL', entries, ARGV[i])
    redis.call('HDEL', sent, ARGV[i])
  end
end
for i = 7 + names, #ARGV, 2 do
  if redis.call('HGET', entries, ARGV[i]) then redis.call('HINCRBY', sent, ARGV[i], ARGV[i + 1]) end
end
local here = redis.call('HGET', sent, instance)
if age == 'leave' then
  redis.call('HDEL', entries, instance)
  redis.call('HDEL', sent, instance)
end
local shared = redis.call('GET', secret)
if not shared then
  redis.call('SET', secret, proposed)
  shared = proposed
end
return {string.format('%.0f', now), previous or '', here or '0', shared}`

// NewSecret makes a secret that nobody can guess.
func NewSecret() string { return rand.Text() }

// leave stands for the age in announce.
const leave = "leave"

// Announce writes an instance's entry into the list of readers and returns the whole list, in one round trip. Its error wraps
// [ErrUnavailable].
func (b *Broker) Announce(ctx context.Context, a Announcement) (Roster, error) {
	return b.announce(ctx, a, strconv.FormatInt(a.Age.Milliseconds(), 10))
}

// Leave takes an instance off the list of readers. It needs every right that Announce needs.
func (b *Broker) Leave(ctx context.Context, instance string) error {
	_, err := b.announce(ctx, Announcement{Instance: instance, Sent: map[string]int{instance: 0}, Secret: NewSecret()}, leave)
	return err
}

func (b *Broker) announce(ctx context.Context, a Announcement, age string) (Roster, error) {
	first := ""
	if a.First {
		first = "first"
	}
	arguments := []any{a.Instance, a.Text, first, a.Secret, age, len(a.Forget)}
	for _, name := range a.Forget {
		arguments = append(arguments, name)
	}
	for instance, viewers := range a.Sent {
		arguments = append(arguments, instance, viewers)
	}
	var written *redis.Cmd
	var entries *redis.MapStringStringCmd
	_, err := b.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		written = pipe.Eval(ctx, announce, b.names.fleet(), arguments...)
		entries = pipe.HGetAll(ctx, b.names.fleet()[0])
		return nil
	})
	if err := b.outcome(announcing, cmp.Or(written.Err(), entries.Err(), err)); err != nil {
		return Roster{}, err
	}
	roster, err := newRoster(written, entries.Val())
	if err != nil {
		return Roster{}, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return roster, nil
}

func newRoster(written *redis.Cmd, entries map[string]string) (Roster, error) {
	answer, err := written.StringSlice()
	if err != nil {
		return Roster{}, err
	}
	if len(answer) != 4 {
		return Roster{}, fmt.Errorf("the list of readers is answered with %d parts", len(answer))
	}
	now, err := strconv.ParseInt(answer[0], 10, 64)
	if err != nil {
		return Roster{}, err
	}
	roster := Roster{Now: time.UnixMilli(now), Secret: answer[3], Entries: make(map[string]Entry, len(entries))}
	if roster.SentHere, err = strconv.ParseInt(answer[2], 10, 64); err != nil {
		return Roster{}, err
	}
	roster.Previous = parseAnnounced(answer[1]).Text
	for instance, text := range entries {
		roster.Entries[instance] = parseAnnounced(text)
	}
	return roster, nil
}

// parseAnnounced takes an entry apart. What is none is of no time.
func parseAnnounced(entry string) Entry {
	millis, text, _ := strings.Cut(entry, " ")
	at, err := strconv.ParseInt(millis, 10, 64)
	if err != nil {
		return Entry{}
	}
	return Entry{At: time.UnixMilli(at), Text: text}
}
