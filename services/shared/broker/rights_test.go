package broker_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zaptest"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// documented are the rights of a user that docs/operations.md lists.
func documented(t *testing.T, user string) []any {
	t.Helper()
	text, err := os.ReadFile("../../../docs/operations.md")
	require.NoError(t, err)
	for line := range strings.Lines(string(text)) {
		if rules, found := strings.CutPrefix(strings.TrimSpace(line), "ACL SETUSER "+user+" "); found {
			var all []any
			for _, rule := range strings.Fields(rules) {
				all = append(all, rule)
			}
			return all
		}
	}
	t.Fatalf("docs/operations.md has no line ACL SETUSER %s", user)
	return nil
}

// withUser gives Redis a user with the rules of the documentation and those after them, and a broker for that user.
func withUser(t *testing.T, server *brokertest.Redis, user string, rules ...any) (*broker.Broker, *redis.Client) {
	t.Helper()
	admin := redis.NewClient(&redis.Options{Addr: server.Address})
	t.Cleanup(func() { _ = admin.Close() })
	all := append([]any{"ACL", "SETUSER", user}, documented(t, user)...)
	require.NoError(t, admin.Do(t.Context(), append(append(all, ">secret"), rules...)...).Err())
	b, err := broker.Open(broker.Config{
		RedisURL: "redis://" + user + ":secret@" + server.Address, HistoryLength: 100, HistoryTTL: time.Hour,
	}, zaptest.NewLogger(t))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return b, admin
}

var uses = map[string]broker.Use{"comment": broker.Publishing, "reader": broker.Reading, "placing": broker.Placing}

func TestTheDocumentedRightsSuffice(t *testing.T) {
	server := brokertest.Real(t)
	for user, use := range uses {
		b, _ := withUser(t, server, user)
		require.NoError(t, b.Await(t.Context(), use, nil), user)
	}
	b, _ := withUser(t, server, "statistics")
	_, _, err := b.Topics(t.Context(), 10)
	require.NoError(t, err)
	info, err := b.Info(t.Context())
	require.NoError(t, err)
	assert.NotEmpty(t, info.Version)
}

func TestWhatRedisDoesNotSayOfItselfIsNotMissed(t *testing.T) {
	b, _ := withUser(t, brokertest.Real(t), "statistics", "-info")
	info, err := b.Info(t.Context())
	require.NoError(t, err, "it answers")
	assert.Equal(t, broker.Info{}, info)
	assert.InDelta(t, 0, forbidden(t, b), 0, "nothing depends on it")
}

func TestAServiceWaitsForEachRightThatItNeeds(t *testing.T) {
	for user, taken := range map[string][]any{
		"comment": {"resetchannels", "-publish", "-pexpire", "-xadd", "-xdel", "-del", "-get", "-set", "-exists", "-xrevrange", "-evalsha", "resetkeys", "-ping"},
		"reader":  {"resetchannels", "-subscribe", "-unsubscribe", "-xrange", "-xrevrange", "-mget", "-time", "resetkeys", "-ping"},
		"placing": {"-eval", "-hset", "-hget", "-hgetall", "-hincrby", "-hdel", "-time", "-get", "-set", "resetkeys"},
	} {
		for _, right := range taken {
			t.Run(user+" "+strings.TrimPrefix(right.(string), "-"), func(t *testing.T) {
				t.Parallel()
				server := brokertest.Real(t)
				b, admin := withUser(t, server, user, right)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				said := make(chan string, 1000)
				done := make(chan error, 1)
				go func() { done <- b.Await(ctx, uses[user], func(reason string) { said <- reason }) }()
				select {
				case reason := <-said:
					assert.Equal(t, "waiting for Redis, which does not permit what is needed; the log says why", reason)
				case err := <-done:
					require.FailNow(t, "it does not wait", "%v", err)
				}
				assert.InDelta(t, 1, forbidden(t, b), 0)
				keys, err := admin.Keys(t.Context(), "*").Result()
				require.NoError(t, err)
				if !slices.Contains([]any{"-xdel", "-del", "-hdel", "-hincrby", "-hgetall"}, right) {
					assert.Empty(t, keys, "what was tried leaves nothing behind")
				}
				require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", user}, documented(t, user)...)...).Err())
				require.NoError(t, <-done)
				assert.InDelta(t, 0, forbidden(t, b), 0)
			})
		}
	}
}

func TestNothingIsStoredThatCannotBePublished(t *testing.T) {
	server := brokertest.Real(t)
	b, admin := withUser(t, server, "comment")
	publish := func(video string) error {
		_, err := b.Publish(t.Context(), comment.Comment{UserID: "u", VideoID: video, Text: "x"})
		return err
	}
	require.NoError(t, publish("old"))
	before, err := admin.XRange(t.Context(), b.HistoryKey("old"), "-", "+").Result()
	require.NoError(t, err)
	for _, right := range []string{"resetchannels", "-publish", "-pexpire", "-set"} {
		require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "comment"}, append(documented(t, "comment"), right)...)...).Err())
		for _, video := range []string{"old", "new", "old"} {
			require.ErrorIs(t, publish(video), broker.ErrForbidden, "%s without %s", video, right)
		}
		after, err := admin.XRange(t.Context(), b.HistoryKey("old"), "-", "+").Result()
		require.NoError(t, err)
		assert.Equal(t, before, after, right)
		assert.Zero(t, admin.Exists(t.Context(), b.HistoryKey("new"), b.HeadKey("new")).Val(), right)
		assert.Equal(t, before[0].ID, admin.Get(t.Context(), b.HeadKey("old")).Val(), right)
	}
	// A history whose head is not there, such as one from before there were heads, is not lost either.
	require.NoError(t, admin.Del(t.Context(), b.HeadKey("old")).Err())
	require.ErrorIs(t, publish("old"), broker.ErrForbidden)
	assert.EqualValues(t, 1, admin.XLen(t.Context(), b.HistoryKey("old")).Val())
	require.NoError(t, admin.Del(t.Context(), b.HeadKey("old")).Err())
	require.NoError(t, admin.Do(t.Context(), append([]any{"ACL", "SETUSER", "comment"}, documented(t, "comment")...)...).Err())
	require.NoError(t, publish("old"))
	entries, err := admin.XRange(t.Context(), b.HistoryKey("old"), "-", "+").Result()
	require.NoError(t, err)
	require.Len(t, entries, 2)
	assert.Equal(t, entries[0].ID, entries[1].Values["p"], "its predecessor is the one that is there")
}

func TestARightThatIsTakenAndGivenBackIsNoLongerMissing(t *testing.T) {
	server := brokertest.Real(t)
	for user, test := range map[string]struct {
		right string
		use   func(b *broker.Broker) error
	}{
		"comment": {"publish", func(b *broker.Broker) error {
			_, err := b.Publish(t.Context(), comment.Comment{UserID: "u", VideoID: "v", Text: "x"})
			return err
		}},
		"reader":     {"xrevrange", func(b *broker.Broker) error { return history(t, b) }},
		"statistics": {"pubsub", func(b *broker.Broker) error { _, _, err := b.Topics(t.Context(), 1); return err }},
	} {
		b, admin := withUser(t, server, user, "-"+test.right)
		require.ErrorIs(t, test.use(b), broker.ErrForbidden, user)
		assert.InDelta(t, 1, forbidden(t, b), 0, user)
		require.NoError(t, admin.Do(t.Context(), "ACL", "SETUSER", user, "+"+test.right).Err())
		require.NoError(t, test.use(b), user)
		assert.InDelta(t, 0, forbidden(t, b), 0, user)
	}
}

// history is the error of reading one.
func history(t *testing.T, b *broker.Broker) error {
	t.Helper()
	pages, err := b.History(t.Context(), broker.Query{VideoID: "v", Last: 1})
	require.NoError(t, err)
	return pages[0].Err
}

// forbidden is the gauge of missing rights.
func forbidden(t *testing.T, b *broker.Broker) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	b.Register(registry)
	families, err := registry.Gather()
	require.NoError(t, err)
	return families[0].GetMetric()[0].GetGauge().GetValue()
}

func TestAHeadThatIsNoneHidesNoOther(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		b := open(t, server, 100)
		want := post(t, b, "good", "x")
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		require.NoError(t, client.Set(t.Context(), b.HeadKey("bad"), "no id", 0).Err())
		heads, err := b.Heads(t.Context(), "bad", "good", "without comments")
		require.NoError(t, err)
		assert.Equal(t, []comment.ID{{}, want, {}}, heads)
	})
}
