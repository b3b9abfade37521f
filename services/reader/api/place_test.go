package api_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// placing starts a reader that places viewers.
func placing(t *testing.T, server *brokertest.Redis, name, routing string, change func(*api.Config)) *servertest.Service {
	t.Helper()
	return unready(t, server, name, routing, change).AwaitReady(t)
}

func unready(t *testing.T, server *brokertest.Redis, name, routing string, change func(*api.Config)) *servertest.Service {
	t.Helper()
	cfg := servertest.Defaults(t, func(cfg *api.Config) {
		cfg.Redis.RedisURL, cfg.Reports.StatisticsAPIURL = server.URL(), ""
		cfg.DrainPeriod, cfg.Retry = 50*time.Millisecond, 100*time.Millisecond
		cfg.Router.Routing = routing
		change(cfg)
	})
	service := servertest.Start(t, &cfg.Server, name, func(ctx context.Context) error { return api.Run(ctx, cfg) })
	if cfg.TLS.On() {
		service.URL = "https://" + cfg.Server.Listener.Addr().String()
	}
	return service
}

// fleet starts readers reader-1, reader-2, ... and returns them when all know each other.
func fleet(t *testing.T, server *brokertest.Redis, n int, routing string, change func(*api.Config)) []*servertest.Service {
	t.Helper()
	var readers []*servertest.Service
	for i := range n {
		readers = append(readers, placing(t, server, fmt.Sprint("reader-", i+1), routing, change))
	}
	for _, r := range readers {
		r.AwaitMetric(t, fmt.Sprint("livecomments_reader_fleet_readers ", n))
	}
	t.Cleanup(func() {
		for _, r := range readers {
			r.Tell()
		}
	})
	return readers
}

// home is the index of the reader that a video's viewers belong to in a fleet of n, while none has more than it should.
func home(t *testing.T, video string, n int, routing string) int {
	t.Helper()
	var names []string
	for i := range n {
		names = append(names, fmt.Sprint("reader-", i+1))
	}
	strategy, err := placement.New(placement.Name(routing), placement.Options{VirtualNodes: 160, Epsilon: 0.25}, names)
	require.NoError(t, err)
	return int(strategy.Candidates(placement.VideoOf(video)).First)
}

// videoOf is a video whose viewers belong to that reader.
func videoOf(t *testing.T, reader, n int, routing string) string {
	t.Helper()
	for i := 0; ; i++ {
		if video := fmt.Sprint("video", i); home(t, video, n, routing) == reader {
			return video
		}
	}
}

// connect asks a reader for a stream without following where it sends the viewer. The stream is closed at once.
func connect(t *testing.T, method, url, body string, header ...string) *http.Response {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	client := http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	response, err := client.Do(request)
	require.NoError(t, err)
	t.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// sentTo checks that an answer sends the viewer to a reader, and returns the URL.
func sentTo(t *testing.T, answer *http.Response, reader *servertest.Service) *url.URL {
	t.Helper()
	require.Equal(t, http.StatusTemporaryRedirect, answer.StatusCode)
	to, err := answer.Location()
	require.NoError(t, err)
	require.Equal(t, reader.URL, "http://"+to.Host)
	return to
}

// instance is the reader that a stream says it is on.
func instance(t *testing.T, s *servertest.Stream) string {
	t.Helper()
	var body struct{ Instance string }
	require.NoError(t, json.Unmarshal([]byte(s.Expect(t).Data), &body))
	return body.Instance
}

func TestAViewerIsSentToTheReaderOfItsVideo(t *testing.T) {
	for _, routing := range []string{"hash", "bounded"} {
		t.Run(routing, func(t *testing.T) {
			t.Parallel()
			brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
				readers := fleet(t, server, 3, routing, defaults)
				post := poster(t, server, asItIs).post
				for i := range readers {
					video := videoOf(t, i, 3, routing)
					seen := post(video, "seen")
					missed := post(video, "missed")
					for door, r := range readers {
						// Both clients follow the redirect as any HTTP client does.
						byGet := servertest.Watch(t, "GET", r.URL+"/connect?userid=me&videoid="+video, "", "Last-Event-ID", seen.ID)
						byPost := servertest.Watch(t, "POST", r.URL+"/connect?history=2", `{"userid":"you","videoid":"`+video+`"}`)
						for _, s := range []*servertest.Stream{byGet, byPost} {
							assert.Equal(t, fmt.Sprint("reader-", i+1), instance(t, s), "by way of reader-%d", door+1)
						}
						byGet.ExpectNext(t, missed)
						byPost.ExpectNext(t, seen, missed)
					}
				}
			})
		})
	}
}

func TestARedirectKeepsTheQueryAndItsMarkIsGoodForOneConnect(t *testing.T) {
	server := brokertest.Embedded(t)
	readers := fleet(t, server, 2, "hash", defaults)
	video := videoOf(t, 1, 2, "hash")
	answer := connect(t, "GET", readers[0].URL+"/connect?userid=me&history=3&videoid="+video+"&x=%C3%A4%26&placed=old", "")
	to := sentTo(t, answer, readers[1])
	assert.Equal(t, "/connect", to.Path)
	assert.Equal(t, "no-store", answer.Header.Get("Cache-Control"))
	query := to.Query()
	mark := query.Get("placed")
	assert.NotEqual(t, "old", mark)
	query.Del("placed")
	assert.Equal(t, url.Values{"userid": {"me"}, "history": {"3"}, "videoid": {video}, "x": {"ä&"}}, query)

	answer = connect(t, "POST", readers[0].URL+"/connect", `{"userid":"me","videoid":"`+video+`"}`)
	assert.Equal(t, []string{"placed"}, slices.Collect(maps.Keys(sentTo(t, answer, readers[1]).Query())), "the body goes along by itself")

	// At a reader that it does not belong to, the mark has a viewer taken: it is never sent on twice. But only once.
	misled := readers[0].URL + to.RequestURI()
	assert.Equal(t, http.StatusOK, connect(t, "GET", misled, "").StatusCode)
	sentTo(t, connect(t, "GET", misled, ""), readers[1])
	readers[0].AwaitMetric(t, `livecomments_reader_arrivals_total{how="stray"} 1`)
	readers[0].AwaitMetric(t, `livecomments_reader_redirects_total{reason="elsewhere"} 3`)
	for _, mark := range []string{"", "x", "AQ", strings.Repeat("A", 100), strings.Repeat("A", 10_000)} {
		sentTo(t, connect(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video+"&placed="+mark, ""), readers[1])
	}
}

func TestAnyClientThatFollowsNoRedirectIsServedAsBeforeWithRandomRouting(t *testing.T) {
	server := brokertest.Embedded(t)
	var readers []*servertest.Service
	for i := range 2 {
		readers = append(readers, placing(t, server, fmt.Sprint("reader-", i+1), "random", defaults))
	}
	for i, r := range readers {
		for video := range 20 {
			s := servertest.Watch(t, "GET", fmt.Sprintf("%s/connect?userid=me&videoid=v%d&placed=x", r.URL, video), "")
			assert.Equal(t, fmt.Sprint("reader-", i+1), instance(t, s))
		}
		assert.Equal(t, http.StatusNotFound, r.Status("/fleet"))
	}
}

func TestACelebritySpreadsAndSmallVideosStayWhole(t *testing.T) {
	t.Parallel()
	server := brokertest.Real(t)
	readers := fleet(t, server, 5, "bounded", func(cfg *api.Config) { cfg.Router.MoveRate = 1 })
	watch := func(door int, user, video string) {
		servertest.Watch(t, "GET", readers[door%5].URL+"/connect?userid="+user+"&videoid="+video, "")
	}
	const small, celebrity = 140, 60
	for i := range small {
		watch(i, fmt.Sprint("u", i), fmt.Sprint("v", i%28))
	}
	for i := range celebrity {
		watch(i, fmt.Sprint("fan", i), "celebrity")
	}
	settled := func() (viewers []int, copies int, ok bool) {
		ok = true
		for _, r := range readers {
			figures := servertest.Do(t, "GET", r.URL+"/metrics", "").Body
			viewers = append(viewers, figure(t, figures, "livecomments_reader_connections"))
			copies += figure(t, figures, "livecomments_reader_subscribed_topics")
			ok = ok && figure(t, figures, "livecomments_reader_misplaced_streams") == 0
		}
		return viewers, copies, ok
	}
	// With MOVE_RATE=1 whoever is too much for a reader leaves at once; these viewers do not come back.
	require.Eventually(t, func() bool { _, _, ok := settled(); return ok }, 20*time.Second, 100*time.Millisecond)
	viewers, copies, _ := settled()
	total := 0
	for _, n := range viewers {
		total += n
	}
	for i, n := range viewers {
		assert.LessOrEqual(t, n, total*13/(5*10)+1, "reader-%d of %v", i+1, viewers)
	}
	assert.Less(t, copies, 28+15, "28 small videos, and the celebrity")
}

// figure is a metric's value, without its fraction.
func figure(t *testing.T, metrics, name string) (value int) {
	t.Helper()
	_, line, found := strings.Cut(metrics, "\n"+name+" ")
	require.True(t, found, name)
	_, err := fmt.Sscan(line, &value)
	require.NoError(t, err)
	return value
}

func TestStreamsFindTheirPlaceAgainAndMissNothing(t *testing.T) {
	for _, routing := range []string{"hash", "bounded"} {
		t.Run(routing, func(t *testing.T) {
			t.Parallel()
			brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
				quick := func(cfg *api.Config) { cfg.Router.MoveRate = 1 }
				old := fleet(t, server, 1, routing, quick)[0]
				stays, moves := videoOf(t, 0, 2, routing), videoOf(t, 1, 2, routing)
				p := poster(t, server, asItIs)
				atHome := servertest.Watch(t, "GET", old.URL+"/connect?userid=me&videoid="+stays, "")
				s := servertest.Watch(t, "GET", old.URL+"/connect?userid=me&videoid="+moves, "")
				assert.Equal(t, "reader-1", instance(t, s))
				assert.Equal(t, "reader-1", instance(t, atHome))

				placing(t, server, "reader-2", routing, quick)
				first := p.post(moves, "before")
				s.ExpectNext(t, first)
				end := s.Expect(t)
				assert.Equal(t, "reconnect", end.Type)
				assert.Regexp(t, `^{"type":"reconnect","reason":"moved","retryMillis":\d+}$`, end.Data)
				s.ExpectEnd(t)
				between := p.post(moves, "in between")
				again := servertest.Watch(t, "GET", old.URL+"/connect?userid=me&videoid="+moves, "", "Last-Event-ID", first.ID)
				assert.Equal(t, "reader-2", instance(t, again))
				again.ExpectNext(t, between, p.post(moves, "after"))
				atHome.ExpectNext(t, p.post(stays, "to who has stayed"))
				old.AwaitMetric(t, `livecomments_reader_streams_ended_total{reason="moved"} 1`)
				old.AwaitMetric(t, "livecomments_reader_misplaced_streams 0")
				old.AwaitMetric(t, "livecomments_reader_subscribed_topics 1")
			})
		})
	}
}

func TestNoStreamIsMovedWhereNoneMayBe(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	old := fleet(t, server, 1, "hash", func(cfg *api.Config) { cfg.Router.MoveRate = 0 })[0]
	for i := range 20 {
		servertest.Watch(t, "GET", fmt.Sprintf("%s/connect?userid=me&videoid=v%d", old.URL, i), "")
	}
	placing(t, server, "reader-2", "hash", defaults)
	astray := 0
	for i := range 20 {
		astray += home(t, fmt.Sprint("v", i), 2, "hash")
	}
	require.Positive(t, astray)
	old.AwaitMetric(t, fmt.Sprint("livecomments_reader_misplaced_streams ", astray))
	time.Sleep(5 * time.Second)
	old.AwaitMetric(t, "livecomments_reader_connections 20")
}

func TestADrainingReaderSendsItsViewersOn(t *testing.T) {
	t.Parallel()
	brokertest.Each(t, func(t *testing.T, server *brokertest.Redis) {
		readers := fleet(t, server, 2, "hash", func(cfg *api.Config) { cfg.Retry = time.Second })
		video := videoOf(t, 0, 2, "hash")
		p := poster(t, server, asItIs)
		s := servertest.Watch(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video, "")
		assert.Equal(t, "reader-1", instance(t, s))
		readers[0].Tell()
		end := s.Expect(t)
		assert.Contains(t, end.Data, `"reason":"drain"`)
		s.ExpectEnd(t)
		// A browser comes back to where it was.
		s = servertest.Watch(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video, "", "Last-Event-ID", end.ID)
		assert.Equal(t, "reader-2", instance(t, s))
		s.ExpectNext(t, p.post(video, "after the drain"))
		readers[1].AwaitMetric(t, "livecomments_reader_fleet_readers 1")
		require.NoError(t, readers[0].Wait())
	})
}

func TestTheLastReaderThatDrainsSaysSo(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	r := fleet(t, server, 1, "bounded", func(cfg *api.Config) { cfg.Retry = time.Second })[0]
	servertest.Watch(t, "GET", r.URL+"/connect?userid=me&videoid=v", "")
	r.Tell()
	require.Eventually(t, func() bool { return r.Status("/readyz") == http.StatusServiceUnavailable }, 5*time.Second, 5*time.Millisecond)
	require.Eventually(t, func() bool { return r.Status("/connect?userid=me&videoid=v") == http.StatusServiceUnavailable }, 5*time.Second, 5*time.Millisecond)
	require.NoError(t, r.Wait())
}

func TestAFullReaderIsPassedOverAndRefusesWhoWasPlacedOnIt(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	readers := fleet(t, server, 3, "bounded", func(cfg *api.Config) { cfg.MaxConnections = 3 })
	video := videoOf(t, 2, 3, "bounded")
	mark := sentTo(t, connect(t, "GET", readers[0].URL+"/connect?userid=late&videoid="+video, ""), readers[2])
	time.Sleep(2 * time.Second) // and it does not come
	at := map[string]int{}
	for i := range 9 {
		at[instance(t, servertest.Watch(t, "GET", fmt.Sprintf("%s/connect?userid=u%d&videoid=%s", readers[0].URL, i, video), ""))]++
	}
	assert.Equal(t, map[string]int{"reader-1": 3, "reader-2": 3, "reader-3": 3}, at)
	answer := connect(t, "GET", mark.String(), "")
	assert.Equal(t, http.StatusServiceUnavailable, answer.StatusCode)
	assert.NotEmpty(t, answer.Header.Get("Retry-After"))
	for _, r := range readers {
		require.Eventually(t, func() bool {
			return connect(t, "GET", r.URL+"/connect?userid=one-more&videoid="+video, "").StatusCode == http.StatusServiceUnavailable
		}, 5*time.Second, 100*time.Millisecond)
	}
}

func TestADeadReaderCostsAViewerOneRetry(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	door := fleet(t, server, 1, "hash", defaults)[0]
	// This one announces an address at which nobody is.
	nowhere, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	dead := "http://" + nowhere.Addr().String()
	require.NoError(t, nowhere.Close())
	placing(t, server, "reader-2", "hash", func(cfg *api.Config) { cfg.Router.AdvertiseURL = dead })
	door.AwaitMetric(t, "livecomments_reader_fleet_readers 2")
	video := videoOf(t, 1, 2, "hash")
	ask := door.URL + "/connect?userid=me&videoid=" + video
	answer := connect(t, "GET", ask, "")
	require.Equal(t, http.StatusTemporaryRedirect, answer.StatusCode)
	assert.True(t, strings.HasPrefix(answer.Header.Get("Location"), dead+"/connect?"))
	s := servertest.Watch(t, "GET", ask, "")
	assert.Equal(t, "reader-1", instance(t, s), "the second time it is taken")
	s = servertest.Watch(t, "GET", door.URL+"/connect?userid=you&lastEventId=1-1&videoid="+video, "")
	assert.Equal(t, "reader-1", instance(t, s), "one that has lost a stream is taken at once")
	door.AwaitMetric(t, `livecomments_reader_arrivals_total{how="kept"} 2`)
	door.AwaitMetric(t, "livecomments_reader_misplaced_streams 0")
}

func TestAnOperatorSeesAReaderThatViewersCannotReach(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	door := fleet(t, server, 1, "hash", defaults)[0]
	lost := placing(t, server, "reader-2", "hash", func(cfg *api.Config) { cfg.Router.AdvertiseURL = "http://127.0.0.1:1" })
	door.AwaitMetric(t, "livecomments_reader_fleet_readers 2")
	video := videoOf(t, 1, 2, "hash")
	for i := range 20 {
		require.Equal(t, http.StatusTemporaryRedirect, connect(t, "GET", fmt.Sprintf("%s/connect?userid=u%d&videoid=%s", door.URL, i, video), "").StatusCode)
	}
	lost.AwaitMetric(t, "livecomments_reader_sent_here 20")
	lost.AwaitMetric(t, `livecomments_reader_arrivals_total{how="placed"} 0`)
	user := 20
	require.Eventually(t, func() bool {
		user++ // one who was not sent there before
		return connect(t, "GET", fmt.Sprintf("%s/connect?userid=u%d&videoid=%s", door.URL, user, video), "").StatusCode == http.StatusOK
	}, 40*time.Second, 500*time.Millisecond, "nobody is sent there any more")
	lost.AwaitMetric(t, "livecomments_reader_unreachable 1")
}

func TestRedisAwayReadersPlaceByTheLastFleetTheyKnew(t *testing.T) {
	t.Parallel()
	server := brokertest.Real(t)
	readers := fleet(t, server, 3, "bounded", defaults)
	video := videoOf(t, 2, 3, "bounded")
	s := servertest.Watch(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video, "")
	assert.Equal(t, "reader-3", instance(t, s))
	server.Stop()
	readers[0].AwaitMetric(t, "livecomments_reader_redis_connected 0")
	time.Sleep(4 * time.Second)
	sentTo(t, connect(t, "GET", readers[0].URL+"/connect?userid=you&videoid="+video, ""), readers[2])
	server.Start()
	for _, r := range readers {
		r.AwaitMetric(t, "livecomments_reader_redis_connected 1")
		r.AwaitMetric(t, "livecomments_reader_fleet_readers 3")
	}
	s.ExpectNext(t, poster(t, server, asItIs).post(video, "after"))
	for _, r := range readers {
		r.AwaitMetric(t, `livecomments_reader_streams_ended_total{reason="moved"} 0`)
	}
}

func TestReadersOfDifferentRoutingsDoNotSendViewersToEachOther(t *testing.T) {
	server := brokertest.Embedded(t)
	hash := placing(t, server, "reader-1", "hash", defaults)
	bounded := placing(t, server, "reader-2", "bounded", defaults)
	hash.AwaitMetric(t, "livecomments_reader_fleet_readers 2")
	for i := range 20 {
		for _, r := range []*servertest.Service{hash, bounded} {
			assert.Equal(t, http.StatusOK, connect(t, "GET", fmt.Sprintf("%s/connect?userid=me&videoid=v%d", r.URL, i), "").StatusCode)
		}
	}
}

func TestThePageOfARedirectedViewerIsLetInWhereTheListNamesIt(t *testing.T) {
	t.Parallel()
	const listed = "https://app.example.org"
	server := brokertest.Embedded(t)
	for _, credentials := range []bool{false, true} {
		t.Run(fmt.Sprint("credentials ", credentials), func(t *testing.T) {
			readers := fleet(t, server, 2, "hash", func(cfg *api.Config) {
				cfg.Server.CORSOrigins, cfg.Server.CORSCredentials = []string{listed, "https://other.example.org"}, credentials
				cfg.Redis.RedisPrefix = fmt.Sprint(credentials)
			})
			video := videoOf(t, 1, 2, "hash")
			door := readers[0].URL + "/connect?userid=me&videoid=" + video
			to := func() string {
				answer := connect(t, "GET", door, "", "Origin", listed, "Cookie", "session=1")
				assert.Equal(t, listed, answer.Header.Get("Access-Control-Allow-Origin"))
				return sentTo(t, answer, readers[1]).String()
			}
			assert.Equal(t, http.StatusForbidden, connect(t, "GET", door, "", "Origin", "https://evil.example.org").StatusCode)
			assert.Equal(t, http.StatusForbidden, connect(t, "GET", door, "", "Origin", "null").StatusCode)

			once := to()
			preflight := connect(t, "OPTIONS", once, "", "Origin", "null", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
			assert.Equal(t, http.StatusNoContent, preflight.StatusCode, "it asks and uses nothing up")
			answer := connect(t, "GET", once, "", "Origin", "null", "Cookie", "session=1")
			assert.Equal(t, http.StatusOK, answer.StatusCode)
			assert.Equal(t, "null", answer.Header.Get("Access-Control-Allow-Origin"))
			assert.Equal(t, credentials, answer.Header.Get("Access-Control-Allow-Credentials") == "true")
			assert.Equal(t, http.StatusForbidden, connect(t, "GET", once, "", "Origin", "null", "Cookie", "session=1").StatusCode, "the mark is used up")

			// A mark that no reader has made, or that was made for who has no origin, lets nobody in.
			without := sentTo(t, connect(t, "GET", door, ""), readers[1]).String()
			forged, err := url.Parse(to())
			require.NoError(t, err)
			query := forged.Query()
			mark := []byte(query.Get("placed"))
			mark[len(mark)-3] ^= 1
			query.Set("placed", string(mark))
			forged.RawQuery = query.Encode()
			for _, bad := range []string{without, forged.String(), door + "&placed=null"} {
				assert.Equal(t, http.StatusForbidden, connect(t, "GET", bad, "", "Origin", "null").StatusCode, bad)
			}
			stolen := connect(t, "GET", to(), "", "Origin", "null", "Cookie", "session=2").StatusCode
			assert.Equal(t, map[bool]int{false: http.StatusOK, true: http.StatusForbidden}[credentials], stolen, "with another's cookies")
			stolen = connect(t, "GET", to(), "", "Origin", "null", "Cookie", "session=1", "Authorization", "Basic eDp5").StatusCode
			assert.Equal(t, map[bool]int{false: http.StatusOK, true: http.StatusForbidden}[credentials], stolen, "with another's password")
			for _, path := range []string{"/health", "/fleet"} {
				mark := once[strings.Index(once, "placed="):]
				assert.Equal(t, http.StatusForbidden, connect(t, "GET", readers[1].URL+path+"?"+mark, "", "Origin", "null").StatusCode)
			}
		})
	}
}

func TestThePageOfAReaderThatDoesNotListItIsNotLetInByAnother(t *testing.T) {
	server := brokertest.Embedded(t)
	const listed = "https://app.example.org"
	door := placing(t, server, "reader-1", "hash", func(cfg *api.Config) { cfg.Server.CORSOrigins = []string{listed} })
	strict := placing(t, server, "reader-2", "hash", func(cfg *api.Config) { cfg.Server.CORSOrigins = []string{"https://other.example.org"} })
	door.AwaitMetric(t, "livecomments_reader_fleet_readers 2")
	to := sentTo(t, connect(t, "GET", door.URL+"/connect?userid=me&videoid="+videoOf(t, 1, 2, "hash"), "", "Origin", listed), strict)
	assert.Equal(t, http.StatusForbidden, connect(t, "GET", to.String(), "", "Origin", "null").StatusCode)
}

func TestTheFleetIsShownAsAReaderSeesIt(t *testing.T) {
	t.Parallel()
	server := brokertest.Embedded(t)
	readers := fleet(t, server, 2, "bounded", func(cfg *api.Config) { cfg.MaxConnections = 77 })
	video := videoOf(t, 1, 2, "bounded")
	servertest.Watch(t, "GET", readers[0].URL+"/connect?userid=me&videoid="+video, "")
	var shown struct {
		Instance, Routing string
		Misplaced         int
		Readers           []struct {
			Instance, Address, Policy string
			Viewers, Capacity         int
			Draining, Unreachable     bool
			AgeMillis                 *int64
		}
	}
	require.Eventually(t, func() bool {
		require.NoError(t, json.Unmarshal([]byte(servertest.Do(t, "GET", readers[0].URL+"/fleet", "").Body), &shown))
		return shown.Readers[1].Viewers == 1
	}, 10*time.Second, 50*time.Millisecond)
	assert.Equal(t, "reader-1", shown.Instance)
	assert.Equal(t, "bounded", shown.Routing)
	for i, r := range shown.Readers {
		assert.Equal(t, readers[i].URL, r.Address)
		assert.Equal(t, 77, r.Capacity)
		assert.NotNil(t, r.AgeMillis)
	}
}

func TestABadAddressForViewersStopsTheReaderWithOneLine(t *testing.T) {
	for address, why := range map[string]string{
		"nowhere":                    "it must begin with http:// or https://",
		"ftp://reader-1":             "it must begin with http:// or https://",
		"http://":                    "it has no host",
		"http://:4000":               "it has no host",
		"http://reader-1:":           "it has no host",
		"http://$(POD_IP):4000":      "it has no host",
		"http://reader-1:99999":      "its port must be from 1 to 65535",
		"http://reader-1/?a=b":       "it must have no query and no fragment",
		"http://reader-1/#a":         "it must have no query and no fragment",
		"http://reader 1:4000":       "it is no URL",
		"http://0.0.0.0:4000":        "nobody can connect to that host",
		"http://[::]:4000":           "nobody can connect to that host",
		"http://reader-1:4000\nX: y": "it is no URL",
	} {
		err := api.Run(t.Context(), servertest.Defaults(t, func(cfg *api.Config) { cfg.Router.AdvertiseURL = address }))
		require.EqualError(t, err, "ADVERTISE_URL="+address+" must be the http:// or https:// URL at which viewers reach this reader: "+why)
	}
	for want, change := range map[string]func(*api.Config){
		"ADVERTISE_URL must have no user and no password":                         func(cfg *api.Config) { cfg.Router.AdvertiseURL = "http://user:secret@reader-1" },
		"ROUTING=nearest is out of bounds: it must be one of random hash bounded": func(cfg *api.Config) { cfg.Router.Routing = "nearest" },
		"MOVE_RATE=-1 is out of bounds: it must be at least 0":                    func(cfg *api.Config) { cfg.Router.MoveRate = -1 },
		"BEHIND_GATEWAY=true needs ROUTING=hash or ROUTING=bounded: with ROUTING=random a viewer belongs nowhere": func(cfg *api.Config) {
			cfg.Router.BehindGateway, cfg.Router.Routing = true, "random"
		},
		"STOP_TIMEOUT=30s is out of bounds: where viewers are placed it must be longer than DRAIN_PERIOD, 1.5 times RETRY and 1s together, which are 33.5s": func(cfg *api.Config) {
			cfg.Router.Routing, cfg.DrainPeriod, cfg.Retry = "bounded", 25*time.Second, 5*time.Second
		},
		"LOAD_BOUND=0 is out of bounds: it must be at least 0.01": func(cfg *api.Config) { cfg.Router.LoadBound = 0 },
	} {
		require.EqualError(t, api.Run(t.Context(), servertest.Defaults(t, change)), want)
	}
}
