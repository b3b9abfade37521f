package api_test

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// door is a proxy that sends new connections to one of several targets, and leaves those that are open as they are, as
// HAProxy does when it checks for role:master.
type door struct {
	net.Listener
	target atomic.Pointer[string]
	// swallow has what targets send passed over, on connections that are open and on new ones.
	swallow atomic.Bool
}

func newDoor(t *testing.T, target string) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &door{Listener: listener}
	d.target.Store(&target)
	var tasks sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	tasks.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", *d.target.Load())
			if err != nil {
				_ = near.Close()
				continue
			}
			stop := context.AfterFunc(ctx, func() { _, _ = near.Close(), far.Close() })
			tasks.Go(func() { defer stop(); d.carry(far, near, false) })
			tasks.Go(func() { d.carry(near, far, true) })
		}
	})
	t.Cleanup(func() { cancel(); _ = listener.Close(); tasks.Wait() })
	return d
}

func (d *door) carry(to io.WriteCloser, from io.ReadCloser, answers bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	for buffer := make([]byte, 32<<10); ; {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if answers && d.swallow.Load() {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (d *door) redis() *brokertest.Redis { return &brokertest.Redis{Address: d.Addr().String()} }

func command(t *testing.T, server *brokertest.Redis, words ...any) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	require.NoError(t, client.Do(t.Context(), words...).Err(), "%v", words)
}

// poster is a Comment API's way to a Redis.
func poster(t *testing.T, server *brokertest.Redis, change func(*broker.Config)) *reader {
	t.Helper()
	cfg := servertest.Defaults(t, func(cfg *broker.Config) { cfg.RedisURL = server.URL(); change(cfg) })
	b, err := broker.Open(cfg, servertest.Logger(t, "poster"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return &reader{t: t, poster: b}
}

func asItIs(*broker.Config) {}

func replicating(master *brokertest.Redis) []any {
	host, port, _ := net.SplitHostPort(master.Address)
	return []any{"REPLICAOF", host, port}
}

func awaitSynced(t *testing.T, replica *brokertest.Redis) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: replica.Address})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool {
		info, err := client.InfoMap(t.Context(), "replication").Result()
		return err == nil && info["Replication"]["master_link_status"] == "up"
	}, 20*time.Second, 10*time.Millisecond)
}

func awaitLength(t *testing.T, server *brokertest.Redis, stream string, length int64) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool { return client.XLen(t.Context(), stream).Val() == length }, 20*time.Second, 5*time.Millisecond)
}

func TestCommentsThatAResyncHasSwallowedArrive(t *testing.T) {
	// Whether another comment follows on the open connection, or none does.
	for name, follow := range map[string]bool{"another follows": true, "none follows": false} {
		t.Run(name, func(t *testing.T) {
			a, b := brokertest.Real(t), brokertest.Real(t)
			command(t, b, replicating(a)...)
			awaitSynced(t, b)
			entrance := newDoor(t, a.Address)
			r := start(t, entrance.redis(), func(cfg *api.Config) { cfg.Feed.CheckInterval = 2 * time.Second })
			s, _ := r.watch("v", "")
			want := r.posts("v", 3)
			expect(t, s, want...)

			awaitLength(t, b, r.poster.HistoryKey("v"), 3)

			// Both are masters for a while: comments go to the one that the reader does not listen to.
			command(t, b, "REPLICAOF", "NO", "ONE")
			entrance.target.Store(&b.Address)
			command(t, a, "SET", "x", "1")
			other := poster(t, b, asItIs)
			swallowed := other.posts("v", 2)
			command(t, a, replicating(b)...)
			awaitSynced(t, a)
			if follow {
				swallowed = append(swallowed, other.posts("v", 2)...)
			}
			expect(t, s, swallowed...)
			history, _ := r.watch("v", "&history=20")
			expect(t, history, append(want, swallowed...)...)
			seen := map[bool]string{true: "predecessor", false: "check"}[follow]
			r.AwaitMetric(t, `livecomments_reader_holes_total{seen="`+seen+`"} 1`)
			expect(t, s, other.post("v", "and all goes on"))
		})
	}
}

func TestAMessageThatAProxySwallowsIsSeenAtTheNext(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		entrance := newDoor(t, server.Address)
		r := start(t, entrance.redis(), defaults)
		direct := poster(t, server, asItIs)
		s, _ := r.watch("v", "")
		quiet, _ := r.watch("quiet", "")
		expect(t, s, direct.posts("v", 3)...)
		entrance.swallow.Store(true)
		missed := direct.posts("v", 3)
		// Long enough for what was published to be on its way.
		r.AwaitMetric(t, "livecomments_reader_messages_received_total 3")
		time.Sleep(50 * time.Millisecond)
		entrance.swallow.Store(false)
		expect(t, s, append(missed, direct.post("v", "the next"))...)
		direct.expectNothingElse("quiet", quiet)
		direct.expectNothingElse("v", s)
	})
}

func TestACommentThatIsFilteredOutArrivesThoughNoneFollows(t *testing.T) {
	server := brokertest.Real(t)
	r := start(t, server, func(cfg *api.Config) { cfg.Feed.CheckInterval = 500 * time.Millisecond })
	s, _ := r.watch("v", "")
	other, _ := r.watch("other", "")
	posted := r.posts("v", 2)
	expect(t, s, posted...)
	last, err := comment.ParseID(posted[1].ID)
	require.NoError(t, err)
	next := comment.ID{Millis: last.Millis + 1}.String()
	// A filter between lets the entry into the history and keeps the message from the channel.
	filtered := poster(t, server, asItIs)
	command(t, server, "XADD", r.poster.HistoryKey("v"), next, "v", "1", "k", "comment", "p", "0-0", "d", `{"comment":"stored, and never published"}`)
	command(t, server, "SET", r.poster.HeadKey("v"), next)
	event := s.Expect(t)
	assert.Contains(t, event.Data, "stored, and never published")
	r.AwaitMetric(t, `livecomments_reader_holes_total{seen="check"} 1`)
	expect(t, s, filtered.posts("v", 2)...)
	filtered.expectNothingElse("other", other)
}

func TestAHistoryThatExpiresIsNoLoss(t *testing.T) {
	server := brokertest.Real(t)
	r := start(t, server, func(cfg *api.Config) {
		cfg.Redis.HistoryTTL = time.Second
		cfg.Feed.CheckInterval = 100 * time.Millisecond
	})
	short := poster(t, server, func(cfg *broker.Config) { cfg.HistoryTTL = time.Second })
	s, _ := r.watch("v", "")
	expect(t, s, short.posts("v", 2)...)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	require.Eventually(t, func() bool { return client.Exists(t.Context(), r.poster.HistoryKey("v")).Val() == 0 }, 10*time.Second, 10*time.Millisecond)
	time.Sleep(3 * 100 * time.Millisecond) // the check may look, or not
	expect(t, s, short.posts("v", 2)...)
	short.expectNothingElse("v", s)
}

func TestWhatAnOlderReaderDoesNotKnowIsPassedOver(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, defaults)
		s, _ := r.watch("v", "")
		first := r.post("v", "first")
		expect(t, s, first)
		key, channel := r.poster.HistoryKey("v"), r.poster.Channel("v")
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		publish := func(version, kind, previous string) string {
			id, err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, Values: []string{"v", version, "k", kind, "p", previous, "d", "{}"}}).Result()
			require.NoError(t, err)
			require.NoError(t, client.Set(t.Context(), r.poster.HeadKey("v"), id, 0).Err())
			require.NoError(t, client.Publish(t.Context(), channel, version+" "+kind+" "+id+" "+previous+" {}").Err())
			return id
		}
		publish("1", "pinned", first.ID)
		expect(t, s, r.post("v", "second"))
		publish("2", "comment", "?")
		expect(t, s, r.post("v", "third"))
		r.AwaitMetric(t, "livecomments_reader_messages_ignored_total 1")
		r.AwaitMetric(t, "livecomments_reader_messages_malformed_total 1")
		r.expectNothingElse("v", s)
		all, _ := r.watch("v", "&history=3")
		for range 3 {
			assert.Empty(t, all.Expect(t).Type)
		}
	})
}

func TestTwoInstallationsOnOneRedisSeeNothingOfEachOther(t *testing.T) {
	tests := map[string]struct{ one, other func(*broker.Config) }{
		"two databases": {
			func(cfg *broker.Config) { cfg.RedisURL += "/1" }, func(cfg *broker.Config) { cfg.RedisURL += "/2" },
		},
		"two prefixes": {
			func(cfg *broker.Config) { cfg.RedisPrefix = "one" }, func(cfg *broker.Config) { cfg.RedisPrefix = "other" },
		},
		"one without a prefix": {
			func(*broker.Config) {}, func(cfg *broker.Config) { cfg.RedisPrefix = "video" },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
				one := start(t, server, func(cfg *api.Config) { test.one(&cfg.Redis) })
				other := start(t, server, func(cfg *api.Config) { test.other(&cfg.Redis) })
				here, _ := one.watch("v", "")
				there, _ := other.watch("v", "")
				// Those of one millisecond have equal ids.
				var mine, theirs []servertest.Event
				for range 20 {
					mine, theirs = append(mine, one.post("v", "mine")), append(theirs, other.post("v", "theirs"))
				}
				expect(t, here, mine...)
				expect(t, there, theirs...)
				history, _ := one.watch("v", "&history=1000")
				expect(t, history, mine...)
				one.expectNothingElse("v", here, history)
				count, subscribers, err := one.poster.Topics(t.Context(), 10)
				require.NoError(t, err)
				assert.Equal(t, 1, count)
				assert.Equal(t, map[string]int64{"v": 1}, subscribers)
			})
		})
	}
}
