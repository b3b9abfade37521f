package browser_test

import (
	"net/http"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/heapprofiler"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// benchPages is how long to measure the Watch page. Nothing is measured where it is not set: the figures are of a machine that
// does nothing else.
const benchPages = "LIVECOMMENTS_BENCH_PAGES"

func TestTheWatchPageIsSmoothUnderAHundredCommentsASecond(t *testing.T) {
	if os.Getenv(benchPages) == "" {
		t.Skip("this is a measurement: `make bench-pages`")
	}
	length, err := time.ParseDuration(os.Getenv(benchPages))
	require.NoError(t, err, benchPages)
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	fleet := newFleet(t, redis, "random")
	fleet[0].start()
	pages := servePages(t, redis, fleet[0].URL)
	page := open(t, chromium, "the page", pages+"/watch?videoid=demo")
	page.awaitText(t, "#state", "Live")
	at := readJSON[struct{ Comment string }](t, pages+"/pages.json").Comment

	stop := flood(t, at)
	page.awaitTrue(t, `document.querySelector("#comments").childElementCount === 300`) // the list is full
	before := page.heap(t)
	page.do(t, chromedp.Evaluate[chromedp.Void](`
		tasks = []; frames = []; newest = performance.now();
		new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration))).observe({ type: "longtask" });
		const frame = (now) => { frames.push(now - newest); newest = now; requestAnimationFrame(frame); };
		requestAnimationFrame((now) => { newest = now; requestAnimationFrame(frame); });
		arrivedBefore = +document.querySelector("#arrived").textContent.replace(/\D/g, "");`))
	time.Sleep(length)
	figures := get[struct{ Task, Frame, P99, Frames, Long, Arrived, Entries, Elements float64 }](t, page, `(frames.sort((a, b) => a - b), {
		Task: Math.max(0, ...tasks), Long: tasks.length, Frame: frames.at(-1), P99: frames[Math.floor(0.99 * frames.length)], Frames: frames.length,
		Arrived: +document.querySelector("#arrived").textContent.replace(/\D/g, "") - arrivedBefore,
		Entries: document.querySelector("#comments").childElementCount, Elements: document.querySelectorAll("*").length,
	})`)
	after := page.heap(t)
	posted := stop()

	t.Logf("%.0f comments arrived in %s, %d posted in all; %.0f frames, a second apart %.1f; longest frame %.0f ms, p99 %.0f ms",
		figures.Arrived, length, posted, figures.Frames, figures.Frames/length.Seconds(), figures.Frame, figures.P99)
	t.Logf("%.0f tasks over 50 ms, longest %.0f ms; heap %.2f MB, then %.2f MB; %.0f entries, %.0f elements",
		figures.Long, figures.Task, before/1e6, after/1e6, figures.Entries, figures.Elements)
	assert.GreaterOrEqual(t, figures.Arrived, 95*length.Seconds())
	assert.LessOrEqual(t, figures.Frame, 100.0, "ms that a frame waits")
	assert.LessOrEqual(t, figures.Task, 200.0, "ms that a task takes")
	assert.LessOrEqual(t, figures.Entries, 300.0)
	assert.Less(t, after-before, 2e6, "bytes that the heap has grown by")
	assert.Empty(t, page.complaints())
}

// flood posts a hundred comments a second to the video demo until it is stopped, which says how many.
func flood(t *testing.T, at string) (stop func() int) {
	done := make(chan struct{})
	number := 0
	var posting sync.WaitGroup
	posting.Go(func() {
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
				number++
				user, text := strconv.Itoa(number%97), "comment "+strconv.Itoa(number)+", of the length that comments have"
				answer := servertest.Do(t, http.MethodPost, at+"/comment", `{"userid":"viewer`+user+`","videoid":"demo","comment":"`+text+`"}`)
				assert.Equal(t, http.StatusCreated, answer.Status, answer.Body)
			}
		}
	})
	stop = sync.OnceValue(func() int { close(done); posting.Wait(); return number })
	t.Cleanup(func() { stop() })
	return stop
}

// heap is the bytes that the page's script holds, after what it does not hold is collected.
func (p *tab) heap(t *testing.T) float64 {
	t.Helper()
	_, err := chromedp.Call(p.ctx, heapprofiler.CollectGarbage, cdp.Empty{})
	require.NoError(t, err)
	usage, err := chromedp.Call(p.ctx, runtime.GetHeapUsage, cdp.Empty{})
	require.NoError(t, err)
	return usage.UsedSize
}
