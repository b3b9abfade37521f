package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	commentapi "github.com/livecomments/livecomments/services/comment/api"
	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
	statisticsapi "github.com/livecomments/livecomments/services/statistics/api"
)

// servePages serves the pages, for readers at an address and a Comment API of their own. It returns where they are.
func servePages(t *testing.T, redis *brokertest.Redis, readers string) string {
	t.Helper()
	posts := servertest.Defaults(t, func(cfg *commentapi.Config) { cfg.Redis.RedisURL, cfg.Reports.StatisticsAPIURL = redis.URL(), "" })
	taker := servertest.Start(t, &posts.Server, "comment", func(ctx context.Context) error { return commentapi.Run(ctx, posts) }).AwaitReady(t)
	reports, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	figures := servertest.Defaults(t, func(cfg *statisticsapi.Config) {
		cfg.Redis.RedisURL, cfg.ReportListener = redis.URL(), reports
		cfg.Pages.ReaderURL, cfg.Pages.CommentURL = readers, taker.URL
	})
	return servertest.Start(t, &figures.Server, "statistics", func(ctx context.Context) error { return statisticsapi.Run(ctx, figures) }).AwaitReady(t).URL
}

// openWatch opens the Watch page of the video demo, with streams that are open. It keeps a list of all that the page ever showed.
func openWatch(t *testing.T, browser context.Context, name, pages string) *tab {
	t.Helper()
	page := open(t, browser, name, pages+"/watch?videoid=demo")
	page.do(t, chromedp.Evaluate[chromedp.Void](`
		shown = [...document.querySelectorAll("#comments > *")];
		new MutationObserver((changes) => changes.forEach(({ addedNodes }) => shown.push(...addedNodes))).observe(document.querySelector("#comments"), { childList: true });`))
	page.awaitTrue(t, `document.querySelector("#state").dataset.state === "open"`)
	return page
}

func (p *tab) do(t *testing.T, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	require.NoError(t, chromedp.Do(p.ctx, steps...), p.of)
}

// awaitTrue returns when an expression is true in the page.
func (p *tab) awaitTrue(t *testing.T, expression string) {
	t.Helper()
	// Not at each frame: a tab that is not in front has none.
	_, err := chromedp.Run(p.ctx, chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(time.Minute)))
	require.NoError(t, err, "%s: %s", p.of, expression)
}

// awaitText returns when an element has a text.
func (p *tab) awaitText(t *testing.T, selector, text string) {
	t.Helper()
	p.awaitTrue(t, fmt.Sprintf("document.querySelector(%q)?.textContent === %q", selector, text))
}

// get is the value of an expression in the page.
func get[T any](t *testing.T, page *tab, expression string) T {
	t.Helper()
	value, err := chromedp.Run(page.ctx, chromedp.Evaluate[T](expression))
	require.NoError(t, err, "%s: %s", page.of, expression)
	return value
}

// shown is all that a page of openWatch ever showed: comments and notices.
func (p *tab) shown(t *testing.T) []string {
	t.Helper()
	return get[[]string](t, p, `shown.map((entry) => (entry.querySelector(".said") ?? entry).textContent)`)
}

// awaitShown returns when a page of openWatch has shown an entry.
func (p *tab) awaitShown(t *testing.T, text string) {
	t.Helper()
	p.awaitTrue(t, fmt.Sprintf(`shown.some((entry) => (entry.querySelector(".said") ?? entry).textContent === %q)`, text))
}

// post types a comment and sends it by the keyboard.
func (p *tab) post(t *testing.T, text string) {
	t.Helper()
	p.do(t, chromedp.SendKeys(chromedp.CSS("#text"), text+kb.Enter))
}

func TestACommentPostedOnOnePageShowsOnAnotherAsText(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	fleet := newFleet(t, redis, "random")
	fleet[0].start()
	pages := servePages(t, redis, fleet[0].URL)
	one, other := openWatch(t, chromium, "the page that posts", pages), openWatch(t, chromium, "the other page", pages)

	one.do(t, chromedp.SendKeys(chromedp.CSS("#user"), "ann"+kb.Tab))
	one.post(t, "hello")
	const script = `<img src=x onerror="alert(1)"><script>alert(2)</script>&amp;`
	one.awaitShown(t, "hello")
	one.post(t, script)
	for _, page := range []*tab{one, other} {
		page.awaitShown(t, script)
		assert.Equal(t, []string{"hello", script}, page.shown(t), page.of)
		assert.Equal(t, 0, get[int](t, page, `document.querySelectorAll(".said *, #comments script, #comments img").length`), page.of)
		assert.Equal(t, "ann", get[string](t, page, `document.querySelector(".who b").textContent`), page.of)
		assert.Empty(t, page.complaints(), page.of)
	}
	one.do(t, chromedp.Reload())
	one.awaitTrue(t, `document.querySelectorAll(".comment").length === 2`)
	assert.Equal(t, "ann", get[string](t, one, `document.querySelector("#user").value`), "the name is remembered")
}

func TestTabsOfOneBrowserShareAStream(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	fleet := newFleet(t, redis, "random")
	home := fleet[0]
	home.start()
	pages := servePages(t, redis, home.URL)
	one, other := openWatch(t, chromium, "the first tab", pages), openWatch(t, chromium, "the second tab", pages)
	posted := startPoster(t, redis)

	one.awaitShown(t, "20")
	other.awaitShown(t, "20")
	home.awaitViewers(1)

	one.do(t, chromedp.Navigate("about:blank"))
	next := posted.posted.Load() + 20
	other.awaitShown(t, fmt.Sprint(next))
	home.awaitViewers(1)
	assert.NotContains(t, other.shown(t), "some comments are missing here")
}

func TestTheWatchPageMissesNothingWhenReadersAreKilled(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	fleet := newFleet(t, redis, "bounded")
	home, next, door := fleet[0], fleet[1], fleet[2]
	for _, r := range []*reader{home, next, door} {
		r.start()
	}
	page := openWatch(t, chromium, "the page", servePages(t, redis, door.URL))
	posted := startPoster(t, redis)
	page.awaitShown(t, "20")
	assert.Equal(t, []string{door.name, home.name}, names(page.asked(fleet, "")), "it is sent from the door to another origin")
	page.awaitText(t, "#reader", home.name)

	home.end(syscall.SIGKILL)
	page.awaitText(t, "#reader", next.name)

	door.end(syscall.SIGKILL)
	next.end(syscall.SIGKILL)
	page.awaitTrue(t, `document.querySelector("#state").dataset.state !== "open"`)
	missed := posted.posted.Load() + 100
	require.Eventually(t, func() bool { return posted.posted.Load() >= missed }, time.Minute, 10*time.Millisecond)
	// The page may wait long before it asks again, and a reader catches up no more than 1,000 comments.
	posted.stop()
	n := posted.posted.Load()
	door.start()
	page.awaitText(t, "#reader", door.name)
	page.awaitShown(t, fmt.Sprint(n))
	page.awaitTrue(t, `shown.some((entry) => /^caught up [0-9]+$/.test(entry.textContent))`)

	accountsForAll(t, page, n)
	assert.LessOrEqual(t, get[int](t, page, `document.querySelector("#comments").childElementCount`), 300)
}

// accountsForAll checks that a page of openWatch was given the comments 1 to n, has shown them in their order, and has the last
// of them in its list, the first line of which says how many are before.
func accountsForAll(t *testing.T, page *tab, n int64) {
	t.Helper()
	page.awaitTrue(t, fmt.Sprintf(`+document.querySelector("#arrived").textContent.replaceAll(",", "") === %d`, n))
	var last int64
	for _, text := range page.shown(t) {
		if number, err := strconv.ParseInt(text, 10, 64); err == nil {
			require.Greater(t, number, last)
			last = number
		}
		assert.NotEqual(t, "caught up 0", text)
	}
	last = 0
	for i, text := range get[[]string](t, page, `[...document.querySelectorAll("#comments > .comment .said, #comments > .notice")].map((entry) => entry.textContent)`) {
		if before := notKept.FindStringSubmatch(text); i == 0 && before != nil {
			var err error
			last, err = strconv.ParseInt(strings.ReplaceAll(before[1], ",", ""), 10, 64)
			require.NoError(t, err)
		} else if !strings.HasPrefix(text, "caught up ") {
			last++
			require.Equal(t, fmt.Sprint(last), text)
		}
	}
	assert.Equal(t, n, last)
}

// notKept matches what the list says of the comments that it no longer has.
var notKept = regexp.MustCompile(`^([0-9,]+) comments? before these (?:is|are) not kept$`)

func TestTheWatchPageSaysHowManyItDoesNotKeep(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	fleet := newFleet(t, redis, "hash")
	fleet[0].start()
	page := openWatch(t, chromium, "the page", servePages(t, redis, fleet[0].URL))
	posted := startPoster(t, redis)
	page.awaitShown(t, "50")
	page.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("#comments").scrollTop -= 100;`))
	page.awaitTrue(t, `!document.querySelector("#newer").hidden`)
	fleet[0].end(syscall.SIGKILL)
	page.awaitTrue(t, `document.querySelector("#state").dataset.state !== "open"`)
	missed := posted.posted.Load() + 400
	require.Eventually(t, func() bool { return posted.posted.Load() >= missed }, 2*time.Minute, 10*time.Millisecond)
	posted.stop()
	n := posted.posted.Load()
	fleet[0].start()
	page.awaitTrue(t, fmt.Sprintf(`document.querySelector("#caught-up").textContent !== "0" && +document.querySelector("#arrived").textContent.replaceAll(",", "") >= %d`, n))
	page.do(t, chromedp.Click(chromedp.CSS("#newer")))
	page.awaitShown(t, fmt.Sprint(n))
	assert.Regexp(t, notKept, get[string](t, page, `document.querySelector("#comments > *").textContent`))
	assert.Equal(t, 300, get[int](t, page, `document.querySelector("#comments").childElementCount`))
	accountsForAll(t, page, n)
}

func TestThePaceOfTheWatchPageLeavesOutHistoryAndWhatIsCaughtUp(t *testing.T) {
	chromium := startChromium(t)
	comments := func(from, to uint64) []byte {
		stream := event.Connected("me", "demo", "reader-1", nil, 10*time.Millisecond)
		for millis := from; millis <= to; millis++ {
			stream = append(stream, event.Comment(comment.ID{Millis: millis}, `{"userid":"you","videoid":"demo","comment":"old","timestamp":"2026-01-02T03:04:05Z"}`)...)
		}
		return stream
	}
	reader := serve(t, make(chan string, 100), comments(1, 50), nil, comments(51, 450))
	page := openWatch(t, chromium, "the page", servePages(t, brokertest.Embedded(t), reader.URL))
	page.awaitText(t, "#caught-up", "400") // which is said together with the pace
	assert.Equal(t, "0", get[string](t, page, `document.querySelector("#pace").textContent`))
}

// names are the readers in what asked returns, each once in a row.
func names(asked []string) (names []string) {
	for _, one := range asked {
		name, _, _ := strings.Cut(one, " ")
		if len(names) == 0 || names[len(names)-1] != name {
			names = append(names, name)
		}
	}
	return names
}

func TestTheWatchPageSaysWhatIsNotThere(t *testing.T) {
	chromium := startChromium(t)
	write := func(millis uint64, text string) []byte {
		return event.Comment(comment.ID{Millis: millis}, `{"userid":"you","videoid":"demo","comment":"`+text+`","timestamp":"2026-01-02T03:04:05Z"}`)
	}
	var stream []byte
	for _, part := range [][]byte{
		event.Connected("me", "demo", "reader-1", nil, 10*time.Millisecond),
		write(1, "first"), write(2, "withdrawn"),
		event.Gap("demo", &comment.ID{Millis: 5}), write(6, "after the gap"),
		[]byte("event: skipped\ndata: {\"count\":300}\n\n"), []byte("event: skipped\ndata: {\"count\":80}\n\n"),
		[]byte("event: deleted\ndata: {\"id\":\"2-0\"}\n\n"), []byte("event: unknown\ndata: {}\n\n"),
	} {
		stream = append(stream, part...)
	}
	reader := serve(t, make(chan string, 100), stream)
	page := openWatch(t, chromium, "the page", servePages(t, brokertest.Embedded(t), reader.URL))
	page.awaitTrue(t, `[...document.querySelectorAll(".notice")].some((notice) => notice.textContent === "+380 not shown")`)
	assert.Equal(t, []string{"first", "some comments are missing here", "after the gap", "+380 not shown"},
		get[[]string](t, page, `[...document.querySelectorAll("#comments > *")].map((entry) => (entry.querySelector(".said") ?? entry).textContent)`))
	page.awaitText(t, "#gaps", "1")
	page.awaitText(t, "#not-shown", "380")
	page.awaitText(t, "#deleted", "1")
}

func TestWhoeverReadsOlderCommentsIsNotMovedFromThem(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	fleet := newFleet(t, redis, "random")
	fleet[0].start()
	page := openWatch(t, chromium, "the page", servePages(t, redis, fleet[0].URL))
	posted := startPoster(t, redis)
	page.awaitShown(t, "50")
	page.do(t, chromedp.Evaluate[chromedp.Void](`log = document.querySelector("#comments"); log.scrollTop -= 100;`))
	page.awaitTrue(t, `!document.querySelector("#newer").hidden`)
	top, last := `document.querySelector("#comments").scrollTop`, `document.querySelector("#comments").lastElementChild.textContent`
	wasTop, wasLast := get[float64](t, page, top), get[string](t, page, last)
	page.awaitTrue(t, `Number.parseInt(document.querySelector("#newer").textContent) >= 37`)
	assert.InDelta(t, wasTop, get[float64](t, page, top), 0)
	assert.Equal(t, wasLast, get[string](t, page, last))

	posted.stop()
	page.do(t, chromedp.Click(chromedp.CSS("#newer")))
	page.awaitShown(t, fmt.Sprint(posted.posted.Load()))
	page.awaitTrue(t, `document.querySelector("#newer").hidden && log.scrollTop + log.clientHeight >= log.scrollHeight - 1`)
}

func TestAPageWithoutAVideoAsksForOne(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Embedded(t)
	page := open(t, chromium, "the page", servePages(t, redis, "")+"/watch")
	page.do(t, chromedp.Evaluate[chromedp.Void](`document.querySelector("#ask-video").value = ""`))
	_, err := chromedp.RunResponse(page.ctx, chromedp.SendKeys(chromedp.CSS("#ask-video"), "a:b"+kb.Enter))
	require.NoError(t, err)
	page.awaitText(t, "#video", "a:b")
}

func TestThePagesRunNoScriptButTheirOwn(t *testing.T) {
	pages := servePages(t, brokertest.Embedded(t), "")
	for _, path := range []string{"/", "/watch"} {
		answer := servertest.Do(t, http.MethodGet, pages+path, "")
		policy := answer.Header.Get("Content-Security-Policy")
		assert.Contains(t, policy, "default-src 'none'", path)
		assert.Contains(t, policy, "script-src 'self';", path)
		assert.Contains(t, policy, "style-src 'self';", path)
		assert.NotContains(t, policy, "unsafe", path)
		assert.NotRegexp(t, `<script>|<style|\bstyle=|\bon[a-z]+=|="https?:`, answer.Body, path)
	}
}

// readJSON is what a service answers to GET.
func readJSON[T any](t *testing.T, url string) (value T) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(servertest.Do(t, http.MethodGet, url, "").Body), &value))
	return value
}
