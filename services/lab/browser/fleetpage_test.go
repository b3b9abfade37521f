package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/up"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
	statisticsapi "github.com/livecomments/livecomments/services/statistics/api"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// startLab brings the whole system up, as make run does.
func startLab(t *testing.T, change func(*up.Command)) up.Addresses {
	t.Helper()
	started := make(chan up.Addresses, 1)
	command := up.Command{
		Readers: 3, Viewers: 30, Videos: 5, Routing: "bounded", Popularity: "uniform", CommentsPerMinute: 30, Every: time.Second,
		Host: "127.0.0.1", LogLevel: "error", Out: io.Discard, Started: func(at up.Addresses) { started <- at },
	}
	change(&command)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- command.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { assert.NoError(t, stop()); http.DefaultClient.CloseIdleConnections() })
	select {
	case at := <-started:
		return at
	case err := <-done:
		done <- err
		require.NoError(t, err)
	case <-time.After(time.Minute):
		require.FailNow(t, "not up")
	}
	return up.Addresses{}
}

// figures are what the Fleet page and the Statistics API both say.
type figures struct {
	Viewers, Stored      float64
	Comments, Deliveries float64
	Readers              map[string][3]float64 // viewers, channels, share
}

func figuresOf(totals tally.Totals) figures {
	f := figures{
		float64(totals.ReaderAPIs.TotalActiveConnections), float64(totals.StoredComments),
		totals.Rates.CommentsPerSecond, totals.Rates.DeliveriesPerSecond,
		map[string][3]float64{},
	}
	for _, r := range totals.ReaderAPIs.Readers {
		f.Readers[r.InstanceID] = [3]float64{float64(r.ActiveConnections), float64(r.SubscribedTopicCount), r.SubscriptionShare}
	}
	return f
}

const shownFigures = `({
	Viewers: +document.querySelector("#viewers").value, Stored: +document.querySelector("#comments-aside").textContent.replace(/\D/g, ""),
	Comments: +document.querySelector("#comments").value, Deliveries: +document.querySelector("#deliveries").value,
	Readers: Object.fromEntries([...document.querySelectorAll("#readers tr")].map((row) => [row.querySelector("th span").textContent, [...row.querySelectorAll("data")].slice(0, 3).map(({ value }) => +value)])),
})`

func TestTheFleetPageShowsTheFiguresOfTheStatisticsAPI(t *testing.T) {
	chromium := startChromium(t)
	at := startLab(t, func(*up.Command) {})
	page := open(t, chromium, "the page", at.Statistics+"/")
	page.awaitText(t, "#state", "Live")
	// Reports come in all the time: at some moment the page shows what the API then says.
	var shown, said figures
	assert.Eventually(t, func() bool {
		said = figuresOf(readJSON[tally.Totals](t, at.Statistics+"/statistics"))
		shown = get[figures](t, page, shownFigures)
		return shown.Viewers >= 30 && said.Comments > 0 && near(said, shown)
	}, time.Minute, 20*time.Millisecond)
	assert.Len(t, shown.Readers, 3)
	if t.Failed() {
		t.Logf("the API says %+v, the page shows %+v", said, shown)
	}
	page.awaitText(t, "#verdict", "0 missing, 0 duplicates")
	page.awaitTrue(t, `document.querySelector("#p99").value > 0`)
	assert.Regexp(t, `^3 readers serve [0-9]+ viewers of 5 videos$`, get[string](t, page, `document.querySelector("#lead").textContent`))
	_, err := chromedp.RunResponse(page.ctx, chromedp.Click(chromedp.CSS("#hot a")))
	require.NoError(t, err)
	page.awaitText(t, "#state", "Live")
	page.awaitTrue(t, `document.querySelectorAll(".comment").length > 0`)
	assert.Empty(t, page.complaints())
}

// near reports whether figures are the same but for the rounding of the page's.
func near(said, shown figures) bool {
	round := func(f figures) figures {
		same := figures{f.Viewers, f.Stored, rounded(f.Comments), rounded(f.Deliveries), map[string][3]float64{}}
		for id, r := range f.Readers {
			same.Readers[id] = [3]float64{r[0], r[1], rounded(r[2])}
		}
		return same
	}
	return reflect.DeepEqual(round(said), round(shown))
}

func rounded(value float64) float64 { return float64(int(100*value + 0.5)) }

func TestTheFleetPageSaysWhatItDoesNotKnow(t *testing.T) {
	chromium := startChromium(t)
	at := startLab(t, func(c *up.Command) { c.Viewers = 0 })
	page := open(t, chromium, "the page", at.Statistics+"/")
	page.awaitText(t, "#lead", "3 readers, and nobody watches")
	page.awaitText(t, "#verdict", "Not checked: no simulated viewers report")
	page.awaitText(t, "#p99", "–")
	page.awaitTrue(t, `!document.querySelector("#no-hot").hidden && document.querySelector("#no-readers").hidden`)
	assert.Empty(t, page.complaints())
}

// axe is axe-core, as npm has installed it.
const axe = "../../statistics/pages/node_modules/axe-core/axe.min.js"

func TestThePagesAreAccessible(t *testing.T) {
	script, err := os.ReadFile(axe)
	if err != nil {
		require.Empty(t, os.Getenv(needChromium), "axe-core is not installed: `make axe` installs it")
		t.Skip("axe-core is not installed: `make axe` installs it")
	}
	chromium := startChromium(t)
	at := startLab(t, func(*up.Command) {})
	for _, path := range []string{"/", "/watch?videoid=video1", "/watch"} {
		page := open(t, chromium, path, at.Statistics+path)
		page.do(t, chromedp.Evaluate[chromedp.Void](string(script)+"\n;0"))
		if path != "/watch" {
			page.awaitText(t, "#state", "Live")
		}
		if path == "/" {
			page.awaitTrue(t, `document.querySelectorAll("#hot tr").length > 0 && document.querySelectorAll("#readers tr").length > 0`)
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, width := range []int64{1280, 390} {
				name := fmt.Sprint(path, " ", scheme, " ", width)
				emulate(t, page, scheme, width, 844)
				violations, err := chromedp.Run(page.ctx, chromedp.Evaluate[[]string](
					`axe.run().then(({ violations }) => violations.map(({ id, nodes }) => id + ": " + nodes.map(({ target }) => target).join(", ")))`, chromedp.EvalAwaitPromise))
				require.NoError(t, err, name)
				assert.Empty(t, violations, name)
				assert.LessOrEqual(t, get[int64](t, page, "document.documentElement.scrollWidth"), width, name)
			}
		}
		assert.Empty(t, page.complaints(), path)
	}
}

// emulate has a page seen in a colour scheme and in a window of a size: a phone's where it is narrow.
func emulate(t *testing.T, page *tab, scheme string, width, height int64) {
	t.Helper()
	_, err := chromedp.Call(page.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	require.NoError(t, err)
	options := []chromedp.EmulateViewportOption{}
	if width < 640 {
		options = append(options, chromedp.EmulateMobile, chromedp.EmulateScale(2))
	}
	page.do(t, chromedp.EmulateViewport(width, height, options...))
}

func TestTheFleetPageKeepsItsRowsOfTwoHundredReaders(t *testing.T) {
	chromium := startChromium(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	redis := brokertest.Embedded(t)
	cfg := servertest.Defaults(t, func(cfg *statisticsapi.Config) {
		cfg.Redis.RedisURL, cfg.ReportListener = redis.URL(), listener
		cfg.Tally.StaleAfter = time.Hour
	})
	pages := servertest.Start(t, &cfg.Server, "statistics", func(ctx context.Context) error { return statisticsapi.Run(ctx, cfg) }).AwaitReady(t).URL
	report := func(number, viewers int) {
		r := reports.Reader{InstanceID: fmt.Sprintf("reader-%03d", number), ActiveConnections: viewers, SubscribedTopicCount: 450, SubscribedTopics: []string{}}
		r.Process = uint64(number)
		body, err := json.Marshal(r)
		require.NoError(t, err)
		answer := servertest.Do(t, http.MethodPost, "http://"+listener.Addr().String()+r.Path(), string(body))
		require.Equal(t, http.StatusOK, answer.Status, answer.Body)
	}
	for number := range 200 {
		report(number+1, 10_000)
	}
	page := open(t, chromium, "the page", pages+"/")
	page.awaitText(t, "#viewers", "2,000,000")
	page.awaitTrue(t, `document.querySelectorAll("#readers tr").length === 200`)
	page.do(t, chromedp.Evaluate[chromedp.Void](`rows = [...document.querySelectorAll("#readers tr")]; document.querySelector("#readers-scroll").scrollTop = 1e6;`))
	page.awaitText(t, "#readers tr:last-child td", "10,000")

	report(1, 9_999)
	report(200, 10_002)
	page.awaitText(t, "#viewers", "2,000,001")
	page.awaitText(t, "#readers tr:last-child td", "10,002")
	page.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("#readers-scroll").scrollTop = 0;`))
	page.awaitText(t, "#readers tr:first-child td", "9,999") // it was out of sight when that came
	assert.True(t, get[bool](t, page, `[...document.querySelectorAll("#readers tr")].every((row, i) => row === rows[i])`), "rows stay")
	assert.Empty(t, page.complaints())
}

// standIn serves the Fleet page, with an event stream that a test writes.
func standIn(t *testing.T, fleet http.HandlerFunc) string {
	t.Helper()
	pages, err := url.Parse(servePages(t, brokertest.Embedded(t), ""))
	require.NoError(t, err)
	s := newSite(t)
	s.mux.Handle("/", httputil.NewSingleHostReverseProxy(pages))
	s.mux.HandleFunc("/fleet", fleet)
	return s.URL + "/"
}

// figuresEvent is an event of the Fleet page's stream.
func figuresEvent(readers int, hot ...string) string {
	videos := make([]string, len(hot))
	for i, video := range hot {
		videos[i] = fmt.Sprintf(`{"video":%q}`, video)
	}
	return fmt.Sprintf("data: {\"at\":%d,\"readerCount\":%d,\"viewers\":0,\"channels\":0,\"readers\":[],\"hot\":[%s]}\n\n",
		time.Now().UnixMilli(), readers, strings.Join(videos, ","))
}

func TestTheFleetPageAsksAgainWhenNoFiguresCome(t *testing.T) {
	chromium := startChromium(t)
	for name, first := range map[string]string{"after some": figuresEvent(7), "from the start": ": hello\n\n"} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			page := open(t, chromium, "the page", standIn(t, func(w http.ResponseWriter, r *http.Request) {
				answer := first
				if asked.Add(1) > 1 {
					answer = figuresEvent(8)
				}
				w.Header().Set("Content-Type", "text/event-stream")
				_, _ = io.WriteString(w, answer)
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			}))
			page.awaitText(t, "#lead", "8 readers, and nobody watches")
			assert.Empty(t, page.complaints())
		})
	}
}

func TestALinkOfTheFleetPageKeepsTheFocusWhenItsRowMoves(t *testing.T) {
	chromium := startChromium(t)
	events := make(chan string, 1)
	events <- figuresEvent(1, "gone", "a", "b", "c")
	page := open(t, chromium, "the page", standIn(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			select {
			case event := <-events:
				_, _ = io.WriteString(w, event)
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	order := func(videos string) {
		page.awaitTrue(t, fmt.Sprintf(`[...document.querySelectorAll("#hot a")].map((link) => link.textContent).join(" ") === %q`, videos))
	}
	order("gone a b c")
	page.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("#hot tr:last-child a").focus()`))
	focused := func() string { return get[string](t, page, `document.activeElement.textContent`) }
	require.Equal(t, "c", focused())
	events <- figuresEvent(1, "c", "a", "b", "new")
	order("c a b new")
	assert.Equal(t, "c", focused())
	events <- figuresEvent(1, "a", "b", "new")
	order("a b new")
	assert.Empty(t, page.complaints())
}
