package broker_test

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, server *brokertest.Redis, historyLength int) *broker.Broker {
	t.Helper()
	b, err := broker.Open(broker.Config{RedisURL: server.URL(), HistoryLength: historyLength, HistoryTTL: time.Hour}, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func post(t *testing.T, b *broker.Broker, video, text string) comment.ID {
	t.Helper()
	c, err := b.Publish(t.Context(), comment.Comment{UserID: "u", VideoID: video, Text: text, Timestamp: time.UnixMilli(1700000000000).UTC()})
	require.NoError(t, err)
	return c.ID
}

// ear is a Handler that remembers.
type ear struct {
	mu          sync.Mutex
	subscribed  map[string]int
	received    []broker.Message
	connected   int
	interrupted int
}

func (e *ear) Subscribed(video string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.subscribed == nil {
		e.subscribed = map[string]int{}
	}
	e.subscribed[video]++
}

func (e *ear) Received(_ string, message broker.Message) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.received = append(e.received, message)
}

func (e *ear) Connected() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.connected++
}

func (e *ear) Interrupted(error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.interrupted++
}

func (e *ear) times(video string) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.subscribed[video]
}

func (e *ear) ids() []comment.ID {
	e.mu.Lock()
	defer e.mu.Unlock()
	var ids []comment.ID
	for _, message := range e.received {
		ids = append(ids, message.ID)
	}
	return ids
}

// listen runs a subscription for the length of the test, which takes a connection for dead when it is silent for a moment.
func listen(t *testing.T, b *broker.Broker) (*broker.Subscription, *ear) {
	t.Helper()
	return run(t, b, (*broker.Subscription).PingOften)
}

// listenPatiently is for tests that count connections: on a busy machine one may well be silent for a moment.
func listenPatiently(t *testing.T, b *broker.Broker) (*broker.Subscription, *ear) {
	t.Helper()
	return run(t, b, func(*broker.Subscription) {})
}

func run(t *testing.T, b *broker.Broker, prepare func(*broker.Subscription)) (*broker.Subscription, *ear) {
	t.Helper()
	e := &ear{}
	subscription := b.NewSubscription(e)
	prepare(subscription)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); subscription.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return subscription, e
}

func TestWhatIsPublishedIsStoredAndDeliveredInTheSameOrder(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 1000)
		subscription, ear := listen(t, b)
		subscription.Add("v")
		require.Eventually(t, func() bool { return ear.times("v") == 1 }, 5*time.Second, time.Millisecond)

		var posters sync.WaitGroup
		for i := range 4 {
			posters.Go(func() {
				for n := range 25 {
					_, err := b.Publish(t.Context(), comment.Comment{UserID: "u", VideoID: "v", Text: fmt.Sprint(i, n)})
					assert.NoError(t, err)
				}
			})
		}
		posters.Wait()
		require.Eventually(t, func() bool { return len(ear.ids()) == 100 }, 5*time.Second, time.Millisecond)
		pages, err := b.History(t.Context(), broker.Query{VideoID: "v", Last: 1000})
		require.NoError(t, err)
		ear.mu.Lock()
		defer ear.mu.Unlock()
		assert.Equal(t, pages[0].Messages, ear.received)
	})
}

func TestAPublishedCommentHasTheFormOfTheContract(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 1000)
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		pubsub := client.Subscribe(t.Context(), "video:v")
		defer func() { _ = pubsub.Close() }()
		_, err := pubsub.Receive(t.Context())
		require.NoError(t, err)

		id := post(t, b, "v", "hi")
		message, err := pubsub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		want := `{"userid":"u","videoid":"v","comment":"hi","timestamp":"2023-11-14T22:13:20Z"}`
		assert.Equal(t, "1 comment "+id.String()+" 0-0 "+want, message.Payload)
		entries, err := client.XRange(t.Context(), "comments:{video:v}", "-", "+").Result()
		require.NoError(t, err)
		assert.Equal(t, []redis.XMessage{{ID: id.String(), Values: map[string]any{"v": "1", "k": "comment", "p": "0-0", "d": want}}}, entries)
		second := post(t, b, "v", "again")
		message, err = pubsub.ReceiveMessage(t.Context())
		require.NoError(t, err)
		assert.Contains(t, message.Payload, "1 comment "+second.String()+" "+id.String()+" {", "each names its predecessor")
		ttl, err := client.PTTL(t.Context(), "comments:{video:v}").Result()
		require.NoError(t, err)
		assert.InDelta(t, time.Hour.Seconds(), ttl.Seconds(), 60)
	})
}

func TestHistorySaysWhetherAnythingIsMissing(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		const length = 200
		b := open(t, server, length)
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		// "short" fits into the history; of "long" the beginning is trimmed, exactly here, where Redis would leave some more.
		var short, long []comment.ID
		for i := range 3 {
			short = append(short, post(t, b, "short", fmt.Sprint(i)))
		}
		for i := range length + 10 {
			long = append(long, post(t, b, "long", fmt.Sprint(i)))
		}
		require.NoError(t, client.XTrimMaxLen(t.Context(), b.HistoryKey("long"), length).Err())
		last := long[len(long)-1]
		future := comment.ID{Millis: last.Millis + 1_000_000}

		tests := map[string]struct {
			query    broker.Query
			messages int
			complete bool
			head     comment.ID
		}{
			"everything of a short history":       {broker.Query{VideoID: "short"}, 3, true, short[2]},
			"after its first":                     {broker.Query{VideoID: "short", After: short[0]}, 2, true, short[2]},
			"after its last":                      {broker.Query{VideoID: "short", After: short[2]}, 0, true, short[2]},
			"after one that never was, too early": {broker.Query{VideoID: "short", After: comment.ID{Millis: 1}}, 3, false, short[2]},
			"after one that is not yet":           {broker.Query{VideoID: "short", After: future}, 0, false, short[2]},
			"everything of a trimmed history":     {broker.Query{VideoID: "long"}, length, false, last},
			"after one that was trimmed":          {broker.Query{VideoID: "long", After: long[0]}, length, false, last},
			"after the oldest that is left":       {broker.Query{VideoID: "long", After: long[10]}, length - 1, true, last},
			"everything of an empty history":      {broker.Query{VideoID: "empty"}, 0, true, comment.ID{}},
			"after one whose history is gone":     {broker.Query{VideoID: "empty", After: short[0]}, 0, false, comment.ID{}},
			"the last two":                        {broker.Query{VideoID: "short", Last: 2}, 2, true, short[2]},
			"the last hundred of three":           {broker.Query{VideoID: "short", Last: 100}, 3, true, short[2]},
			"the last of none":                    {broker.Query{VideoID: "empty", Last: 5}, 0, true, comment.ID{}},
		}
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				pages, err := b.History(t.Context(), test.query)
				require.NoError(t, err)
				page := pages[0]
				assert.Len(t, page.Messages, test.messages)
				assert.Equal(t, test.complete, page.Complete)
				assert.Equal(t, test.head, page.Head)
				for i, message := range page.Messages {
					assert.True(t, message.ID.After(test.query.After))
					if i > 0 {
						assert.True(t, message.ID.After(page.Messages[i-1].ID))
					}
				}
			})
		}
	})
}

func TestRedisKeepsAboutAsMuchHistoryAsConfigured(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 50)
		for i := range 500 {
			post(t, b, "v", fmt.Sprint(i))
		}
		pages, err := b.History(t.Context(), broker.Query{VideoID: "v", Last: 1000})
		require.NoError(t, err)
		// Redis trims whole nodes of a hundred entries.
		assert.GreaterOrEqual(t, len(pages[0].Messages), 50)
		assert.LessOrEqual(t, len(pages[0].Messages), 150)
	})
}

func TestASubscriptionComesBackAfterRedisDoes(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 1000)
		subscription, ear := listen(t, b)
		subscription.Add("before")
		subscription.Add("dropped")
		require.Eventually(t, func() bool { return ear.times("before") == 1 && ear.times("dropped") == 1 }, 5*time.Second, time.Millisecond)

		server.Stop()
		_, err := b.Publish(t.Context(), comment.Comment{UserID: "u", VideoID: "before", Text: "x"})
		require.ErrorIs(t, err, broker.ErrUnavailable)
		require.Eventually(t, func() bool { ear.mu.Lock(); defer ear.mu.Unlock(); return ear.interrupted == 1 }, 5*time.Second, time.Millisecond)
		subscription.Add("meanwhile")
		subscription.Remove("dropped")
		server.Start()

		require.Eventually(t, func() bool { return ear.times("before") >= 2 && ear.times("meanwhile") >= 1 }, 10*time.Second, time.Millisecond)
		require.Eventually(t, func() bool {
			count, _, err := b.Topics(t.Context(), 100)
			return err == nil && count == 2
		}, 5*time.Second, time.Millisecond)
		want := []comment.ID{post(t, b, "before", "1"), post(t, b, "meanwhile", "2")}
		post(t, b, "dropped", "nobody hears this")
		require.Eventually(t, func() bool { return len(ear.ids()) == 2 }, 5*time.Second, time.Millisecond)
		assert.Equal(t, want, ear.ids())
		count, subscribers, err := b.Topics(t.Context(), 100)
		require.NoError(t, err)
		assert.Equal(t, 2, count)
		assert.Equal(t, map[string]int64{"before": 1, "meanwhile": 1}, subscribers)
	})
}

// wire is a way to Redis whose connections can be made to hang, as they do when a host dies without a goodbye.
type wire struct {
	net.Listener
	age atomic.Int64 // connections that began before it hang
	mu  sync.Mutex
	all []net.Conn
}

func newWire(t *testing.T, target string) *wire {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{Listener: listener}
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			w.mu.Lock()
			w.all = append(w.all, near, far)
			w.mu.Unlock()
			born := w.age.Load()
			tasks.Go(func() { w.carry(near, far, born) })
			tasks.Go(func() { w.carry(far, near, born) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		w.mu.Lock()
		for _, connection := range w.all {
			_ = connection.Close()
		}
		w.mu.Unlock()
		tasks.Wait()
	})
	return w
}

func (w *wire) carry(from, to net.Conn, born int64) {
	for buffer := make([]byte, 4096); ; {
		n, err := from.Read(buffer)
		if err != nil {
			_ = to.Close()
			return
		}
		if w.age.Load() == born {
			_, _ = to.Write(buffer[:n])
		}
	}
}

func TestAConnectionThatIsOpenButDeadIsReplaced(t *testing.T) {
	server := brokertest.Embedded(t)
	wire := newWire(t, server.Address)
	b, direct := open(t, &brokertest.Redis{Address: wire.Addr().String()}, 1000), open(t, server, 1000)
	subscription, ear := listen(t, b)
	subscription.Add("v")
	require.Eventually(t, func() bool { return ear.times("v") == 1 }, 5*time.Second, time.Millisecond)
	time.Sleep(10 * broker.PingAfterInTests)
	assert.Equal(t, 1, ear.times("v"), "a quiet connection that answers pings stays")

	wire.age.Add(1)
	post(t, direct, "v", "not heard, but in the history")
	require.Eventually(t, func() bool { return ear.times("v") == 2 }, 10*time.Second, time.Millisecond)
	assert.Empty(t, ear.ids())
	want := post(t, direct, "v", "heard")
	require.Eventually(t, func() bool { return len(ear.ids()) == 1 }, 5*time.Second, time.Millisecond)
	assert.Equal(t, want, ear.ids()[0])
	assert.Equal(t, 2, ear.connected)
	assert.Equal(t, 1, ear.interrupted)
}

func TestManyVideosAreSubscribedToInFewCommands(t *testing.T) {
	server := brokertest.Real(t)
	b := open(t, server, 1000)
	subscription, ear := listen(t, b)
	const videos = 20_000
	for i := range videos {
		subscription.Add(fmt.Sprint("v", i))
	}
	require.Eventually(t, func() bool { ear.mu.Lock(); defer ear.mu.Unlock(); return len(ear.subscribed) == videos }, 30*time.Second, 10*time.Millisecond)
	count, subscribers, err := b.Topics(t.Context(), 100)
	require.NoError(t, err)
	assert.Equal(t, videos, count, "counts are exact")
	assert.Len(t, subscribers, 100, "lists are capped")

	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	stats, err := client.InfoMap(t.Context(), "commandstats").Result()
	require.NoError(t, err)
	var calls int
	_, err = fmt.Sscanf(stats["Commandstats"]["cmdstat_subscribe"], "calls=%d,", &calls)
	require.NoError(t, err)
	assert.Less(t, calls, videos/10)
}

// connections are the ids of the connections over which Redis publishes, and how many channels each is subscribed to.
func connections(t *testing.T, client *redis.Client) (channels map[string]int) {
	t.Helper()
	list, err := client.Do(t.Context(), "CLIENT", "LIST", "TYPE", "pubsub").Text()
	require.NoError(t, err)
	channels = map[string]int{}
	for line := range strings.Lines(list) {
		var id string
		var subscribed int
		for _, field := range strings.Fields(line) {
			name, value, _ := strings.Cut(field, "=")
			switch name {
			case "id":
				id = value
			case "sub":
				subscribed, err = strconv.Atoi(value)
				require.NoError(t, err)
			}
		}
		channels[id] = subscribed
	}
	return channels
}

func TestVideosAreSpreadOverAFewConnectionsOnlyWhereTheyAreMany(t *testing.T) {
	tests := map[string]struct{ videos, connections, most int }{
		"one video":      {1, 1, 1},
		"a few videos":   {10, 1, 10},
		"several":        {1500, 2, 1000},
		"a great number": {8000, 4, 2000},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := brokertest.Real(t)
			client := redis.NewClient(&redis.Options{Addr: server.Address})
			defer func() { _ = client.Close() }()
			subscription, ear := listenPatiently(t, open(t, server, 1000))
			for i := range test.videos {
				subscription.Add(fmt.Sprint("v", i))
			}
			require.Eventually(t, func() bool {
				ear.mu.Lock()
				defer ear.mu.Unlock()
				return ear.connected == 1 && len(ear.subscribed) == test.videos
			}, 10*time.Second, time.Millisecond)
			channels := connections(t, client)
			assert.Len(t, channels, test.connections)
			sum := 0
			for _, n := range channels {
				assert.LessOrEqual(t, n, test.most)
				sum += n
			}
			assert.Equal(t, test.videos, sum)
		})
	}
}

func TestAConnectionThatBreaksInterruptsOnlyItsVideos(t *testing.T) {
	server := brokertest.Real(t)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	b := open(t, server, 1000)
	subscription, ear := listenPatiently(t, b)
	const videos = 2000
	for i := range videos {
		subscription.Add(fmt.Sprint("v", i))
	}
	require.Eventually(t, func() bool { ear.mu.Lock(); defer ear.mu.Unlock(); return len(ear.subscribed) == videos }, 10*time.Second, time.Millisecond)
	channels := connections(t, client)
	require.Len(t, channels, 2)
	for id := range channels {
		require.NoError(t, client.ClientKillByFilter(t.Context(), "ID", id).Err())
		break
	}
	require.Eventually(t, func() bool { ear.mu.Lock(); defer ear.mu.Unlock(); return ear.connected == 2 }, 10*time.Second, time.Millisecond)
	again := 0
	require.Eventually(t, func() bool {
		again = 0
		for i := range videos {
			if ear.times(fmt.Sprint("v", i)) > 1 {
				again++
			}
		}
		return again >= videos/2
	}, 10*time.Second, 10*time.Millisecond)
	assert.Equal(t, videos/2, again, "videos on the other connection were not disturbed")
	ear.mu.Lock()
	assert.Equal(t, 1, ear.interrupted)
	ear.mu.Unlock()
	var want []comment.ID
	for i := range videos {
		want = append(want, post(t, b, fmt.Sprint("v", i), "x"))
	}
	require.Eventually(t, func() bool { return len(ear.ids()) >= videos }, 10*time.Second, time.Millisecond)
	assert.ElementsMatch(t, want, ear.ids(), "each comes once")
}

func TestAVideoThatComesAndGoesIsHeardOnce(t *testing.T) {
	server := brokertest.Real(t)
	b := open(t, server, 1000)
	subscription, ear := listenPatiently(t, b)
	const videos = 3000
	for round := range 3 {
		for i := range videos {
			if round > 0 {
				subscription.Remove(fmt.Sprint("v", i))
			}
			subscription.Add(fmt.Sprint("v", i))
		}
	}
	require.Eventually(t, func() bool {
		count, subscribers, err := b.Topics(t.Context(), videos)
		if err != nil || count != videos {
			return false
		}
		for _, n := range subscribers {
			if n != 1 {
				return false
			}
		}
		return true
	}, 10*time.Second, 10*time.Millisecond)
	var want []comment.ID
	for i := range videos {
		want = append(want, post(t, b, fmt.Sprint("v", i), "x"))
	}
	require.Eventually(t, func() bool { return len(ear.ids()) >= videos }, 10*time.Second, time.Millisecond)
	assert.ElementsMatch(t, want, ear.ids(), "each comes once")
	for i := range videos {
		subscription.Remove(fmt.Sprint("v", i))
	}
	require.Eventually(t, func() bool { count, _, err := b.Topics(t.Context(), 1); return err == nil && count == 0 }, 10*time.Second, 10*time.Millisecond)
}

func TestAMessageThatIsNotACommentIsIgnored(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 1000)
		subscription, ear := listen(t, b)
		subscription.Add("v")
		require.Eventually(t, func() bool { return ear.times("v") == 1 }, 5*time.Second, time.Millisecond)
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		require.NoError(t, client.Publish(t.Context(), "video:v", "rubbish").Err())
		want := post(t, b, "v", "hi")
		require.Eventually(t, func() bool { return len(ear.ids()) > 0 }, 5*time.Second, time.Millisecond)
		assert.Equal(t, []comment.ID{want}, ear.ids())
	})
}

func TestABadRedisSettingIsNamedWithoutItsPassword(t *testing.T) {
	_, err := broker.Open(broker.Config{RedisURL: "http://:secret@localhost"}, zaptest.NewLogger(t))
	require.ErrorContains(t, err, "REDIS_URL")
	assert.NotContains(t, err.Error(), "secret")
}

func TestRedisSaysOfItselfWhatItKnows(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 100)
		before, err := b.Info(t.Context())
		require.NoError(t, err)
		post(t, b, "v", "x")
		after, err := b.Info(t.Context())
		require.NoError(t, err)
		assert.Greater(t, *after.Commands, *before.Commands)
		if after.Version == "" { // the embedded one
			assert.Equal(t, broker.Info{Commands: after.Commands}, after)
			return
		}
		assert.Regexp(t, `^[0-9]+\.[0-9]+`, after.Version)
		assert.Positive(t, *after.Memory)
		assert.Positive(t, *after.CPU)
		assert.Zero(t, *after.Channels)

		server.Stop()
		_, err = b.Info(t.Context())
		require.ErrorIs(t, err, broker.ErrUnavailable)
	})
}
