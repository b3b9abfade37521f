package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// reader is one that runs beside a poster.
type reader struct {
	*servertest.Service
	t      *testing.T
	poster *broker.Broker
	redis  *brokertest.Redis
}

func start(t *testing.T, server *brokertest.Redis, change func(*api.Config)) *reader {
	t.Helper()
	cfg := servertest.Defaults(t, func(cfg *api.Config) {
		cfg.Redis.RedisURL = server.URL()
		cfg.Reports.StatisticsAPIURL = ""
		cfg.DrainPeriod = 50 * time.Millisecond
		change(cfg)
	})
	poster, err := broker.Open(cfg.Redis, servertest.Logger(t, "poster"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = poster.Close() })
	service := servertest.Start(t, &cfg.Server, "reader-1", func(ctx context.Context) error { return api.Run(ctx, cfg) })
	if cfg.TLS.On() {
		service.URL = "https://" + cfg.Server.Listener.Addr().String()
	}
	return &reader{service.AwaitReady(t), t, poster, server}
}

// post publishes a comment and returns the event that viewers must get.
func (r *reader) post(video, text string) servertest.Event {
	r.t.Helper()
	c, err := r.poster.Publish(r.t.Context(), comment.Comment{UserID: "poster", VideoID: video, Text: text, Timestamp: time.Now().UTC()})
	require.NoError(r.t, err)
	id := c.ID.String()
	c.ID = comment.ID{}
	data, err := json.Marshal(c)
	require.NoError(r.t, err)
	return servertest.Event{ID: id, Data: string(data)}
}

func (r *reader) posts(video string, n int) []servertest.Event {
	r.t.Helper()
	events := make([]servertest.Event, n)
	for i := range events {
		events[i] = r.post(video, fmt.Sprint("comment ", i))
	}
	return events
}

// watch opens a stream and returns it after its first event.
func (r *reader) watch(video, query string, header ...string) (*servertest.Stream, servertest.Event) {
	r.t.Helper()
	s := servertest.Watch(r.t, "GET", r.URL+"/connect?userid=me&videoid="+video+query, "", header...)
	first := s.Expect(r.t)
	assert.JSONEq(r.t, `{"type":"connected","userid":"me","videoid":"`+video+`","instance":"reader-1"}`, first.Data)
	return s, first
}

func expect(t *testing.T, s *servertest.Stream, want ...servertest.Event) {
	t.Helper()
	s.ExpectNext(t, want...)
}

// expectNothingElse checks that nothing has come to streams of a video: one more comment is what they get next.
func (r *reader) expectNothingElse(video string, streams ...*servertest.Stream) {
	r.t.Helper()
	last := r.post(video, "the last")
	for _, s := range streams {
		expect(r.t, s, last)
	}
}

func defaults(*api.Config) {}

func TestAViewerGetsWhatIsPostedToItsVideo(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, defaults)
		byGet, first := r.watch("v1", "")
		assert.Equal(t, "0-0", first.ID, "there is no comment yet")
		byPost := servertest.Watch(t, "POST", r.URL+"/connect", `{"userid":"you","videoid":"v1"}`)
		assert.JSONEq(t, `{"type":"connected","userid":"you","videoid":"v1","instance":"reader-1"}`, byPost.Expect(t).Data)
		other, _ := r.watch("v2", "")

		want := r.posts("v1", 20)
		expect(t, byGet, want...)
		expect(t, byPost, want...)
		r.expectNothingElse("v2", other)

		for name, value := range map[string]string{"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"} {
			assert.Equal(t, value, byGet.Header.Get(name), name)
		}
	})
}

func TestAStreamIsWrittenInTheFormOfTheStandard(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.Heartbeat = 50 * time.Millisecond })
	response, err := http.Get(r.URL + "/connect?userid=me&videoid=v")
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	assert.True(t, response.Close, "the next stream is over a new connection")
	read := func(want string) string {
		t.Helper()
		text := ""
		for one := make([]byte, 1); !strings.HasSuffix(text, want); text += string(one) {
			_, err := io.ReadFull(response.Body, one)
			require.NoError(t, err, text)
		}
		return text
	}
	assert.Regexp(t, `^id: 0-0\nretry: \d{3,4}\ndata: {"type":"connected","userid":"me","videoid":"v","instance":"reader-1"}\n\n$`, read("\n\n"))
	read(": heartbeat\n\n: heartbeat\n\n")
	event := r.post("v", "hi")
	read("id: " + event.ID + "\ndata: " + event.Data + "\n\n")
}

func TestRetryTimesDifferSoThatViewersDoNotComeBackTogether(t *testing.T) {
	r := start(t, brokertest.Embedded(t), defaults)
	seen := map[string]bool{}
	for range 10 {
		response, err := http.Get(r.URL + "/connect?userid=me&videoid=v")
		require.NoError(t, err)
		var id, retry string
		_, err = fmt.Fscanf(response.Body, "id: %s\nretry: %s\n", &id, &retry)
		require.NoError(t, err)
		require.NoError(t, response.Body.Close())
		seen[retry] = true
	}
	assert.Greater(t, len(seen), 1)
}

func TestAViewerResumesWhereItsLastStreamEnded(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		tests := map[string]func(*api.Config){
			"from what the reader holds": defaults,
			"from the history":           func(cfg *api.Config) { cfg.Feed.BufferFrames = 2 },
		}
		for name, change := range tests {
			t.Run(name, func(t *testing.T) {
				r := start(t, server, change)
				video := strings.ReplaceAll(name, " ", "-")
				// One by one, so that nobody falls behind a buffer of two.
				posts := func(n int, watching ...*servertest.Stream) (posted []servertest.Event) {
					for i := range n {
						posted = append(posted, r.post(video, fmt.Sprint(i)))
						for _, s := range watching {
							expect(t, s, posted[i])
						}
					}
					return posted
				}
				staying, _ := r.watch(video, "")
				leaving, connected := r.watch(video, "")
				seen := posts(3, staying, leaving)
				leaving.Close()
				missed := posts(5, staying)

				byHeader, first := r.watch(video, "", "Last-Event-ID", seen[2].ID)
				assert.Equal(t, seen[2].ID, first.ID, "a stream that breaks at once loses no place")
				expect(t, byHeader, missed...)
				byQuery, _ := r.watch(video, "&lastEventId="+seen[2].ID)
				expect(t, byQuery, missed...)
				// A browser repeats the query of its first request, and the header is newer.
				both, _ := r.watch(video, "&history=1&lastEventId="+seen[0].ID, "Last-Event-ID", missed[3].ID)
				expect(t, both, missed[4])
				fromTheStart, _ := r.watch(video, "", "Last-Event-ID", connected.ID)
				expect(t, fromTheStart, append(seen, missed...)...)

				for range 2 {
					r.expectNothingElse(video, byHeader, byQuery, both, fromTheStart)
				}
			})
		}
	})
}

func TestAViewerResumesOnAnotherReader(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		one, other := start(t, server, defaults), start(t, server, defaults)
		s, _ := one.watch("v", "")
		seen := one.posts("v", 10)
		expect(t, s, seen...)
		require.NoError(t, one.Stop())
		missed := other.posts("v", 40) // more than a topic starts with
		s, _ = other.watch("v", "", "Last-Event-ID", seen[9].ID)
		expect(t, s, missed...)
		other.expectNothingElse("v", s)
	})
}

func TestAViewerCanAskForTheLastCommentsFirst(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, defaults)
		before := r.posts("v", 50)
		s, _ := r.watch("v", "&history=5")
		expect(t, s, before[45:]...)
		next := r.post("v", "next")
		expect(t, s, next)
		all, _ := r.watch("v", "&history=1000")
		expect(t, all, append(before, next)...)
		live := r.post("v", "live")
		expect(t, all, live)
		none, first := r.watch("v", "&history=0")
		r.expectNothingElse("v", none)
		assert.NotEqual(t, "0-0", first.ID)
		empty, first := r.watch("another", "&history=5")
		r.expectNothingElse("another", empty)
		assert.Equal(t, "0-0", first.ID)
	})
}

func TestAViewerThatAsksForMoreThanTheHistoryHoldsIsTold(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, defaults)
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		posted := r.posts("v", 10)
		require.NoError(t, client.XTrimMaxLen(t.Context(), r.poster.HistoryKey("v"), 4).Err())
		gap := servertest.Event{Type: "gap", Data: `{"type":"gap","videoid":"v"}`}

		t.Run("its last comment is trimmed", func(t *testing.T) {
			s, _ := r.watch("v", "", "Last-Event-ID", posted[2].ID)
			assert.Equal(t, gap, s.Expect(t))
			expect(t, s, posted[6:]...)
			expect(t, s, r.post("v", "next"))
		})
		t.Run("its last comment never was", func(t *testing.T) {
			s, _ := r.watch("v", "", "Last-Event-ID", "99999999999999-0")
			got := s.Expect(t)
			assert.Equal(t, "gap", got.Type)
			assert.NotEqual(t, "99999999999999-0", got.ID, "it goes on from what there is")
			expect(t, s, r.post("v", "next"))
		})
		t.Run("the history is gone", func(t *testing.T) {
			s, _ := r.watch("expired", "", "Last-Event-ID", posted[2].ID)
			assert.Equal(t, servertest.Event{Type: "gap", ID: "0-0", Data: `{"type":"gap","videoid":"expired"}`}, s.Expect(t))
			expect(t, s, r.post("expired", "next"))
		})
	})
}

func TestNothingFallsBetweenTheHistoryAndWhatIsLive(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, func(cfg *api.Config) { cfg.Feed.Linger = 0 })
		var posting sync.WaitGroup
		var posted []servertest.Event
		stop := make(chan struct{})
		posting.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					posted = append(posted, r.post("v", fmt.Sprint(len(posted))))
				}
			}
		})
		// Viewers come and go all the time, so that the video is subscribed to and given up over and over.
		var position servertest.Event
		var got []servertest.Event
		for i := range 30 {
			var s *servertest.Stream
			if i == 0 {
				s, position = r.watch("v", "")
			} else {
				s, _ = r.watch("v", "", "Last-Event-ID", position.ID)
			}
			for range 20 {
				position = s.Expect(t)
				require.Empty(t, position.Type)
				got = append(got, position)
			}
			s.Close()
		}
		close(stop)
		posting.Wait()
		var from int
		for from < len(posted) && posted[from] != got[0] {
			from++
		}
		require.LessOrEqual(t, from+len(got), len(posted))
		assert.Equal(t, posted[from:from+len(got)], got)
	})
}

func TestABadRequestToWatchIsAnsweredWithWhatWasWrong(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.Server.BodyLimit = 1000 })
	ids := "must be 1 to 128 characters of A-Z a-z 0-9 . _ : -"
	tests := map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"no user":              {"GET", "/connect?videoid=v", "", 400, "userid and videoid are required"},
		"no video":             {"GET", "/connect?userid=u", "", 400, "userid and videoid are required"},
		"nothing posted":       {"POST", "/connect", "{}", 400, "userid and videoid are required"},
		"illegal video":        {"GET", "/connect?userid=u&videoid=a%20b", "", 400, "videoid " + ids},
		"illegal user":         {"POST", "/connect", `{"userid":"a/b","videoid":"v"}`, 400, "userid " + ids},
		"too long an id":       {"GET", "/connect?userid=u&videoid=" + strings.Repeat("v", 129), "", 400, "videoid " + ids},
		"wrong type":           {"POST", "/connect", `{"userid":5,"videoid":"v"}`, 400, "userid must be a string, not number"},
		"not JSON":             {"POST", "/connect", `userid=u`, 400, "the body is not JSON: invalid character 'u' looking for beginning of value at byte 1"},
		"oversized body":       {"POST", "/connect", `{"userid":"` + strings.Repeat("u", 1000) + `"}`, 413, "the body must be at most 1000 bytes"},
		"history not a number": {"GET", "/connect?userid=u&videoid=v&history=all", "", 400, "history must be a whole number from 0 to 1000"},
		"negative history":     {"GET", "/connect?userid=u&videoid=v&history=-1", "", 400, "history must be a whole number from 0 to 1000"},
		"too much history":     {"GET", "/connect?userid=u&videoid=v&history=1001", "", 400, "history must be a whole number from 0 to 1000"},
		"bad last event":       {"GET", "/connect?userid=u&videoid=v&lastEventId=yesterday", "", 400, `lastEventId: "yesterday" is not a comment id such as 1700000000000-0`},
		"the greatest id":      {"GET", "/connect?userid=u&videoid=v&lastEventId=18446744073709551615-18446744073709551615", "", 400, `lastEventId: "18446744073709551615-18446744073709551615" is not a comment id such as 1700000000000-0`},
		"a body to GET":        {"GET", "/connect?userid=u&videoid=v", "{}", 400, "GET /connect takes its fields from the query and no body"},
		"null":                 {"POST", "/connect", "null", 400, "the body must be a JSON object, not null"},
		"unknown path":         {"GET", "/connects", "", 404, "there is no /connects here"},
		"unknown method":       {"DELETE", "/connect", "", 405, "/connect does not take DELETE"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			servertest.Refused(t, test.method, r.URL+test.path, test.body, test.status, test.says)
		})
	}
	header := servertest.Do(t, "GET", r.URL+"/connect?userid=u&videoid=v", "", "Last-Event-ID", "x")
	assert.Equal(t, `Last-Event-ID: "x" is not a comment id such as 1700000000000-0`, header.Reason())
	assert.JSONEq(t, `{"status":"ok","instance":"reader-1","connections":0,"topics":0}`, servertest.Do(t, "GET", r.URL+"/health", "").Body)
}

func TestAFullReaderSendsViewersElsewhere(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.MaxConnections = 2 })
	first, _ := r.watch("v", "")
	r.watch("v", "")
	full := servertest.Do(t, "GET", r.URL+"/connect?userid=u&videoid=v", "")
	assert.Equal(t, 503, full.Status)
	assert.Equal(t, "this reader holds as many streams as it may; try again", full.Reason())
	assert.Regexp(t, `^[1-5]$`, full.Header.Get("Retry-After"))
	assert.Equal(t, 200, r.Status("/livez"))

	first.Close()
	require.Eventually(t, func() bool {
		return strings.Contains(servertest.Do(t, "GET", r.URL+"/health", "").Body, `"connections":1`)
	}, 5*time.Second, 5*time.Millisecond)
	r.watch("v", "")
}

func TestAVideoStaysSubscribedForAWhileAfterItsLastViewer(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		const linger = 300 * time.Millisecond
		r := start(t, server, func(cfg *api.Config) { cfg.Feed.Linger = linger })
		subscribed := func() bool {
			count, _, err := r.poster.Topics(t.Context(), 10)
			require.NoError(t, err)
			return count == 1
		}
		s, _ := r.watch("v", "")
		assert.True(t, subscribed())
		s.Close()
		left := time.Now()
		s, _ = r.watch("v", "")
		time.Sleep(time.Until(left.Add(2 * linger)))
		assert.True(t, subscribed(), "somebody came back")
		s.Close()
		left = time.Now()
		require.Eventually(t, func() bool { return !subscribed() }, 10*time.Second, time.Millisecond)
		assert.GreaterOrEqual(t, time.Since(left), linger)
		s, _ = r.watch("v", "")
		expect(t, s, r.post("v", "again"))
	})
}

func TestRedisGoesAwayAndComesBack(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, func(cfg *api.Config) { cfg.Feed.SubscribeTimeout = 100 * time.Millisecond })
		open, _ := r.watch("v", "")
		before := r.posts("v", 3)
		expect(t, open, before...)

		server.Stop()
		known, _ := r.watch("v", "") // the reader knows where this video stands
		resumed, _ := r.watch("v", "", "Last-Event-ID", before[0].ID)
		expect(t, resumed, before[1:]...)
		unknown := servertest.Do(t, "GET", r.URL+"/connect?userid=u&videoid=unknown", "")
		assert.Equal(t, 503, unknown.Status)
		assert.Equal(t, "comments unavailable: Redis did not answer; try again", unknown.Reason())
		assert.NotEmpty(t, unknown.Header.Get("Retry-After"))
		assert.Equal(t, 200, r.Status("/readyz"), "an outage of Redis must not empty the load balancer")
		server.Start()

		// Posted as soon as Redis takes it, which may be before the reader is subscribed again.
		var after []servertest.Event
		for i := range 100 {
			after = append(after, r.post("v", fmt.Sprint("after ", i)))
		}
		for _, s := range []*servertest.Stream{open, known, resumed} {
			expect(t, s, after...)
		}
		r.expectNothingElse("v", open, known, resumed)
		late, _ := r.watch("unknown", "")
		expect(t, late, r.post("unknown", "hi"))
	})
}

func TestRedisComesBackWithoutWhatItHeld(t *testing.T) {
	server := brokertest.Real(t)
	r := start(t, server, defaults)
	s, _ := r.watch("v", "")
	expect(t, s, r.posts("v", 3)...)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	// A failover to a replica that had received nothing, on a host whose clock is behind.
	require.NoError(t, client.FlushAll(t.Context()).Err())
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: r.poster.HistoryKey("v"), ID: "1000-0", Values: []string{"c", `{"lost":"not"}`}}).Err())
	require.NoError(t, client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
	gap := s.Expect(t)
	assert.Equal(t, servertest.Event{Type: "gap", ID: "1000-0", Data: `{"type":"gap","videoid":"v"}`}, gap)
	expect(t, s, r.posts("v", 3)...)
}

func TestAResumeFromBeforeTheLossIsToldOfIt(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		for name, lose := range map[string]func(){
			"expired": func() { require.NoError(t, client.Del(t.Context(), "comments:{video:expired}").Err()) },
			"lost": func() {
				server.Stop()
				server.Start()
				require.NoError(t, client.FlushAll(t.Context()).Err())
			},
		} {
			t.Run(name, func(t *testing.T) {
				before := start(t, server, defaults)
				seen := before.posts(name, 5)
				lose()
				r := start(t, server, defaults)
				watching, _ := r.watch(name, "")
				expect(t, watching, r.post(name, "after"))
				s, _ := r.watch(name, "", "Last-Event-ID", seen[0].ID)
				assert.Equal(t, "gap", s.Expect(t).Type)
			})
		}
	})
}

func TestCommentsArriveAlsoWhenTheirIDsGoBack(t *testing.T) {
	server := brokertest.Real(t)
	r := start(t, server, defaults)
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	// The clock of the Redis that wrote this was ahead.
	require.NoError(t, client.XAdd(t.Context(), &redis.XAddArgs{Stream: r.poster.HistoryKey("v"), ID: "9999999999999-0", Values: []string{"c", "{}"}}).Err())
	s, _ := r.watch("v", "")
	require.NoError(t, client.FlushAll(t.Context()).Err())
	back := r.post("v", "it comes after the gap, and is not lost in it")
	assert.Equal(t, "gap", s.Expect(t).Type)
	expect(t, s, back)
	expect(t, s, r.posts("v", 3)...)
	resumed, _ := r.watch("v", "", "Last-Event-ID", "9999999999999-0")
	assert.Equal(t, "gap", resumed.Expect(t).Type)
	expect(t, resumed, back)
}

func TestMoreIsFilledInThanTheBufferHolds(t *testing.T) {
	server := brokertest.Real(t)
	r := start(t, server, func(cfg *api.Config) { cfg.Feed.BufferFrames = 20 })
	client := redis.NewClient(&redis.Options{Addr: server.Address})
	defer func() { _ = client.Close() }()
	whole, _ := r.watch("whole", "")
	trimmed, _ := r.watch("trimmed", "")
	expect(t, trimmed, r.posts("trimmed", 1)...)

	// While the reader is cut off from Redis, posters are not.
	allow := func(rule string) { require.NoError(t, client.Do(t.Context(), "ACL", "SETUSER", "default", rule).Err()) }
	allow("-subscribe")
	require.NoError(t, client.ClientKillByFilter(t.Context(), "TYPE", "pubsub").Err())
	missed := r.posts("whole", 50)
	lost := r.posts("trimmed", 60)
	require.NoError(t, client.XTrimMaxLen(t.Context(), r.poster.HistoryKey("trimmed"), 40).Err())
	allow("+subscribe")

	expect(t, whole, missed...)
	assert.Equal(t, "gap", trimmed.Expect(t).Type)
	expect(t, trimmed, lost[20:]...)
}

func TestAHistoryThatCannotBeReadHoldsUpNoOtherVideo(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, func(cfg *api.Config) {
			cfg.Feed.SubscribeTimeout = 200 * time.Millisecond
			cfg.Feed.BufferFrames = 10
		})
		client := redis.NewClient(&redis.Options{Addr: server.Address})
		defer func() { _ = client.Close() }()
		require.NoError(t, client.Set(t.Context(), r.poster.HistoryKey("bad"), "not a stream", 0).Err())
		assert.Equal(t, 503, r.Status("/connect?userid=u&videoid=bad"))
		good, _ := r.watch("good", "")
		expect(t, good, r.posts("good", 3)...)

		// More arrives for the bad one than is held back for it, and then its history can be read again.
		for i := range 20 {
			require.NoError(t, client.Publish(t.Context(), r.poster.Channel("bad"), fmt.Sprintf("1 comment %d-0 0-0 {}", 1000+i)).Err())
		}
		require.NoError(t, client.Del(t.Context(), r.poster.HistoryKey("bad")).Err())
		posted := r.posts("bad", 5)
		var s *servertest.Stream
		require.Eventually(t, func() bool { return r.Status("/connect?userid=u&videoid=bad") == 200 }, 10*time.Second, 10*time.Millisecond)
		s, _ = r.watch("bad", "", "Last-Event-ID", posted[0].ID)
		expect(t, s, posted[1:]...)
		expect(t, s, r.post("bad", "next"))
	})
}

func TestAReaderWaitsForARedisThatIsDownAtItsStart(t *testing.T) {
	server := brokertest.Real(t)
	server.Stop()
	cfg := servertest.Defaults(t, func(cfg *api.Config) { cfg.Redis.RedisURL = server.URL(); cfg.Reports.StatisticsAPIURL = "" })
	s := servertest.Start(t, &cfg.Server, "reader-1", func(ctx context.Context) error { return api.Run(ctx, cfg) })
	require.Eventually(t, func() bool { return s.Status("/livez") == 200 }, 5*time.Second, 5*time.Millisecond)
	notReady := servertest.Do(t, "GET", s.URL+"/readyz", "")
	assert.Equal(t, 503, notReady.Status)
	assert.Equal(t, "not ready: waiting for Redis", notReady.Reason())
	server.Start()
	s.AwaitReady(t)
}

func TestASlowViewerIsCutAndCostsTheOthersNothing(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) {
		cfg.WriteTimeout = 500 * time.Millisecond
		cfg.Feed.BufferFrames = 50
	})
	stalled, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
	require.NoError(t, err)
	defer func() { _ = stalled.Close() }()
	require.NoError(t, stalled.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(stalled, "GET /connect?userid=slow&videoid=v HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	quick, _ := r.watch("v", "")

	// Far more than the kernel buffers for a connection.
	text := strings.Repeat("x", 2000)
	for range 400 {
		var want []servertest.Event
		for range 10 {
			want = append(want, r.post("v", text))
		}
		expect(t, quick, want...)
	}
	r.AwaitMetric(t, `livecomments_reader_streams_ended_total{reason="slow"} 1`)
	expect(t, quick, r.post("v", "still here"))
}

func TestAViewerThatTakesALongReplaySlowlyIsNotCut(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.WriteTimeout = 300 * time.Millisecond })
	for range 1000 {
		r.post("v", strings.Repeat("x", 2000))
	}
	connection, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
	require.NoError(t, err)
	defer func() { _ = connection.Close() }()
	require.NoError(t, connection.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err = io.WriteString(connection, "GET /connect?userid=u&videoid=v&history=1000 HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	total := 0
	// It takes far longer for all than the timeout, and never pauses for as long.
	for buffer := make([]byte, 32<<10); total < 2_000_000; time.Sleep(10 * time.Millisecond) {
		n, err := connection.Read(buffer)
		require.NoError(t, err, "cut after %d bytes", total)
		total += n
	}
}

func TestAStoppingReaderTellsItsViewersToComeBackElsewhere(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.DrainPeriod = 200 * time.Millisecond })
	var streams []*servertest.Stream
	for range 20 {
		s, _ := r.watch("v", "")
		streams = append(streams, s)
	}
	r.Tell()
	var mu sync.Mutex
	retries := map[string]bool{}
	var watching sync.WaitGroup
	for _, s := range streams {
		watching.Go(func() {
			event, _ := s.Next(5 * time.Second)
			assert.Equal(t, "reconnect", event.Type)
			assert.Regexp(t, `^{"type":"reconnect","reason":"drain","retryMillis":\d+}$`, event.Data)
			_, err := s.Next(5 * time.Second)
			assert.Equal(t, servertest.ErrEnded, err)
			mu.Lock()
			defer mu.Unlock()
			retries[event.Data] = true
		})
	}
	watching.Wait()
	require.NoError(t, r.Wait())
	assert.Greater(t, len(retries), 1, "they are told to wait for different times")
}

func TestAStreamEndsAfterItsLifetimeAndGoesOnWithoutLoss(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.StreamLifetime = 150 * time.Millisecond })
	s, last := r.watch("v", "")
	var want, got []servertest.Event
	streams := 1
	for streams < 4 {
		want = append(want, r.post("v", fmt.Sprint(len(want))))
		for len(got) < len(want) {
			event, err := s.Next(10 * time.Second)
			switch {
			case err == nil && event.Type == "":
				got, last = append(got, event), event
			case err == nil:
				assert.Contains(t, event.Data, `"reason":"lifetime"`)
			default:
				s, _ = r.watch("v", "", "Last-Event-ID", last.ID)
				streams++
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	assert.Equal(t, want, got)
}

func TestTheReadersFiguresAreTrue(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, defaults)
		for _, video := range []string{"v1", "v1", "v2"} {
			s, _ := r.watch(video, "")
			if video == "v2" {
				expect(t, s, r.posts("v2", 4)...)
			}
		}
		assert.JSONEq(t, `{"status":"ok","instance":"reader-1","connections":3,"topics":2}`, servertest.Do(t, "GET", r.URL+"/health", "").Body)
		for _, line := range []string{
			"livecomments_reader_connections 3", "livecomments_reader_subscribed_topics 2", "livecomments_reader_messages_received_total 4",
			"livecomments_reader_messages_sent_total 4", "livecomments_reader_redis_connected 1", "livecomments_reader_receive_lag_seconds_count 4",
		} {
			r.AwaitMetric(t, line)
		}
	})
}

func TestAnOperatorSeesHowManyVideosMissCommentsForNow(t *testing.T) {
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		r := start(t, server, func(cfg *api.Config) { cfg.Feed.Linger = 0 })
		var streams []*servertest.Stream
		for _, video := range []string{"v1", "v2", "v3"} {
			s, _ := r.watch(video, "")
			streams = append(streams, s)
		}
		r.AwaitMetric(t, "livecomments_reader_catching_up_topics 0")
		server.Stop()
		r.AwaitMetric(t, "livecomments_reader_unconfirmed_topics 3")
		r.AwaitMetric(t, "livecomments_reader_redis_connected 0")
		streams[2].Close()
		r.AwaitMetric(t, "livecomments_reader_unconfirmed_topics 2")
		server.Start()
		r.AwaitMetric(t, "livecomments_reader_unconfirmed_topics 0")
		r.AwaitMetric(t, "livecomments_reader_catching_up_topics 0")
		r.AwaitMetric(t, "livecomments_reader_redis_connected 1")
		for i, video := range []string{"v1", "v2"} {
			expect(t, streams[i], r.posts(video, 2)...)
		}
	})
}

func TestABadSettingStopsTheReaderWithOneLine(t *testing.T) {
	for want, change := range map[string]func(*api.Config){
		"MAX_CONNECTIONS=0 is out of bounds: it must be at least 1":                          func(cfg *api.Config) { cfg.MaxConnections = 0 },
		"DRAIN_PERIOD=30s is out of bounds: it must be shorter than STOP_TIMEOUT=30s":        func(cfg *api.Config) { cfg.DrainPeriod = 30 * time.Second },
		"REDIS_URL is not of the form redis://user:password@host:port/db":                    func(cfg *api.Config) { cfg.Redis.RedisURL = "localhost" },
		"STATISTICS_API_URL=nowhere is out of bounds: it must be an http:// or https:// URL": func(cfg *api.Config) { cfg.Reports.StatisticsAPIURL = "nowhere" },
	} {
		require.EqualError(t, api.Run(t.Context(), servertest.Defaults(t, change)), want)
	}
}
