package browser_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	commentapi "github.com/livecomments/livecomments/services/comment/api"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// library is the client as it is served and published.
const library = "../../statistics/pages/client/livecomments.js"

// options are those of the client's watch, and what a page posts.
type options struct {
	History   int   `json:"history,omitempty"`
	Heartbeat int   `json:"heartbeat,omitempty"`
	Share     *bool `json:"share,omitempty"`

	posts map[string]string
}

// watching is a script that watches by the client, which it finds at an address.
func watching(t *testing.T, client, reader string, settings options) string {
	t.Helper()
	values, err := json.Marshal(settings)
	require.NoError(t, err)
	posts, err := json.Marshal(settings.posts)
	require.NoError(t, err)
	return script(t, "client.js", reader, fmt.Sprintf("const library = %q, settings = %s, posts = %s;", client, values, posts))
}

// clientInNode watches in Node.
func clientInNode(t *testing.T, reader string, settings options) *tab {
	t.Helper()
	path, err := filepath.Abs(library)
	require.NoError(t, err)
	return startNode(t, "the client in Node", watching(t, "file://"+path, reader, settings))
}

// clientPage is the URL of a page that watches.
func clientPage(t *testing.T, s *site, reader string, settings options) string {
	t.Helper()
	return s.page(watching(t, "/client.js", reader, settings))
}

// newClientSite is a site that serves the client too.
func newClientSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	s.mux.HandleFunc("/client.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		http.ServeFile(w, r, library)
	})
	return s
}

// publishing opens Redis for posts whose number matters, beside those of a poster.
func publishing(t *testing.T, redis *brokertest.Redis, change func(*broker.Config)) (publish func(text string)) {
	t.Helper()
	b, err := broker.Open(servertest.Defaults(t, func(cfg *broker.Config) { cfg.RedisURL = redis.URL(); change(cfg) }), servertest.Logger(t, "publishing"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = b.Close() })
	return func(text string) {
		_, err := b.Publish(context.Background(), comment.Comment{UserID: "you", VideoID: "demo", Text: text, Timestamp: time.Now().UTC()})
		require.NoError(t, err)
	}
}

// has returns when a page has logged a line that begins so.
func (p *tab) has(t *testing.T, prefix string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return slices.ContainsFunc(p.logged(), func(line string) bool { return strings.HasPrefix(line, prefix) })
	}, time.Minute, 10*time.Millisecond, "%s has not logged %q", p.of, prefix)
}

func TestTheClientMissesNothingWhileItsVideoGoesFromReaderToReader(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	s := newClientSite(t)
	fleet := newFleet(t, redis, "bounded", "CORS_ORIGINS=https://app.example.org,"+s.URL)
	newcomer, home, last, door := fleet[0], fleet[1], fleet[2], fleet[3]
	for _, r := range []*reader{home, last, door} {
		r.start()
	}
	all := []*tab{
		open(t, chromium, "the client in a page", clientPage(t, s, door.URL, options{})),
		clientInNode(t, door.URL, options{}),
	}
	home.awaitViewers(len(all))
	posted := startPoster(t, redis)
	posted.awaitFlow(t, all...)

	newcomer.start() // and the video belongs to it
	newcomer.awaitViewers(len(all))
	posted.awaitFlow(t, all...)

	newcomer.end(syscall.SIGKILL)
	newcomer.start()
	newcomer.awaitViewers(len(all))
	posted.awaitFlow(t, all...)

	assert.Equal(t, "exit status 0", newcomer.end(syscall.SIGTERM))
	posted.awaitFlow(t, all...)

	home.end(syscall.SIGKILL) // for good
	posted.awaitFlow(t, all...)
	last.awaitViewers(len(all))

	posted.stop()
	n := posted.posted.Load()
	for _, p := range all {
		p.await(t, line(n))
		assert.Equal(t, upTo(n), comments(p), p.of)
		for _, said := range []string{"connected " + home.name, "waiting: moved", "connected " + newcomer.name, "waiting: drain", "connected " + last.name} {
			assert.Contains(t, p.logged(), said, p.of)
		}
		assert.NotContains(t, p.logged(), "gap", p.of)
	}
	for _, request := range all[0].asked(fleet, "Access-Control-Request-Method") {
		assert.Regexp(t, "<nil>$", request, "a request that needs no preflight")
	}
}

func TestTheClientBehindNginxMissesNothingWhileReadersAndGatewaysDie(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	s := newClientSite(t)
	first, second := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL()}), newReader(t, "reader-2", []string{"REDIS_URL=" + redis.URL()})
	first.start()
	second.start()
	gateway, otherGateway := startNginx(t, first.URL, second.URL), startNginx(t, first.URL, second.URL)
	door := startNginx(t, gateway.url, otherGateway.url)
	all := []*tab{
		open(t, chromium, "the client in a page", clientPage(t, s, door.url, options{})),
		clientInNode(t, door.url, options{}),
	}
	for _, p := range all {
		p.has(t, "connected reader-")
	}
	posted := startPoster(t, redis)
	posted.awaitFlow(t, all...)
	for _, r := range []*reader{first, second, first} {
		r.end(syscall.SIGKILL)
		posted.awaitFlow(t, all...)
		r.start()
	}
	gateway.kill()
	posted.awaitFlow(t, all...)
	first.end(syscall.SIGTERM)
	posted.awaitFlow(t, all...)
	second.end(syscall.SIGTERM)
	inPage, inNode := all[0], all[1]
	inNode.await(t, "waiting: 502 Bad Gateway")
	inPage.await(t, "waiting: Failed to fetch") // nginx lets no page of another origin read its own answers
	first.start()
	posted.awaitFlow(t, all...)

	posted.stop()
	n := posted.posted.Load()
	for _, p := range all {
		p.await(t, line(n))
		assert.Equal(t, upTo(n), comments(p), p.of)
	}
}

// nginx passes requests on.
type nginx struct {
	url  string
	kill func()
}

// startNginx has an nginx stand before servers, set up as it comes but for the version of HTTP.
func startNginx(t *testing.T, before ...string) nginx {
	t.Helper()
	binary, err := exec.LookPath("nginx")
	if err != nil {
		binary = "/usr/sbin/nginx" // where it is for root alone
	}
	if _, err := os.Stat(binary); err != nil {
		require.Empty(t, os.Getenv(needChromium), "nginx is not in the PATH: `hack/prepare nginx` installs it")
		t.Skip("nginx is not in the PATH: what the client does behind it is not tested; `hack/prepare nginx` installs it")
	}
	reserved, err := port.Reserve()
	require.NoError(t, err)
	t.Cleanup(reserved.Release)
	var servers strings.Builder
	for _, url := range before {
		fmt.Fprintf(&servers, "server %s max_fails=0;", strings.TrimPrefix(url, "http://"))
	}
	directory := t.TempDir()
	configuration := filepath.Join(directory, "nginx.conf")
	require.NoError(t, os.WriteFile(configuration, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/pid; error_log stderr crit;
		events {}
		http {
			access_log off;
			client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
			upstream servers { %[2]s }
			server { listen %[3]s; location / { proxy_pass http://servers; proxy_http_version 1.1; } }
		}`, directory, servers.String(), reserved.Address()), 0o600))
	process := exec.Command(binary, "-p", directory, "-e", "stderr", "-c", configuration)
	process.Stderr = os.Stderr
	require.NoError(t, process.Start())
	n := nginx{url: "http://" + reserved.Address(), kill: sync.OnceFunc(func() { _ = process.Process.Kill(); _ = process.Wait() })}
	t.Cleanup(n.kill)
	require.Eventually(t, func() bool {
		response, err := http.Get(n.url + "/livez")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	}, time.Minute, 10*time.Millisecond)
	http.DefaultClient.CloseIdleConnections()
	return n
}

// watcher watches by the client.
type watcher func(t *testing.T, reader string, settings options) *tab

func TestTheClientWithOneReader(t *testing.T) {
	chromium := startChromium(t)
	for name, start := range map[string]watcher{
		"Node": clientInNode,
		"Chromium": func(t *testing.T, reader string, settings options) *tab {
			t.Helper()
			return open(t, chromium, "the client in a page", clientPage(t, newClientSite(t), reader, settings))
		},
	} {
		for does, test := range map[string]func(*testing.T, watcher){
			"gets in when a full reader has room again":                    getsInWhenAFullReaderHasRoomAgain,
			"says what it has caught up on and where comments are missing": saysWhatItHasCaughtUpOnAndWhereCommentsAreMissing,
			"says what was asked wrongly":                                  saysWhatWasAskedWrongly,
			"posts what others see":                                        postsWhatOthersSee,
		} {
			t.Run(name+" "+does, func(t *testing.T) { test(t, start) })
		}
	}
}

func getsInWhenAFullReaderHasRoomAgain(t *testing.T, start watcher) {
	t.Helper()
	redis := brokertest.Real(t)
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL(), "MAX_CONNECTIONS=1"})
	r.start()
	before := servertest.Watch(t, http.MethodGet, connectAt(r), "")
	r.awaitViewers(1)
	p := start(t, r.URL, options{})
	p.await(t, "waiting: this reader holds as many streams as it may; try again")
	before.Close()
	p.await(t, "connected reader-1")
	posted := startPoster(t, redis)
	posted.awaitFlow(t, p)
	posted.stop()
	n := posted.posted.Load()
	p.await(t, line(n))
	assert.Equal(t, upTo(n), comments(p))
}

func saysWhatItHasCaughtUpOnAndWhereCommentsAreMissing(t *testing.T, start watcher) {
	t.Helper()
	redis := brokertest.Real(t)
	publish := publishing(t, redis, func(cfg *broker.Config) { cfg.HistoryLength = 1 }) // which Redis takes for about 100
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL()})
	r.start()
	for number := range 3 {
		publish(fmt.Sprint(number + 1))
	}
	p := start(t, r.URL, options{History: 2})
	p.await(t, line(3))
	assert.Equal(t, []string{line(2), line(3)}, comments(p))

	r.end(syscall.SIGKILL)
	for number := range 7 {
		publish(fmt.Sprint(number + 4))
	}
	r.start()
	p.await(t, line(10))
	p.await(t, "caught up 7")
	assert.NotContains(t, p.logged(), "gap")

	r.end(syscall.SIGKILL)
	for range 500 {
		publish("too many to be kept")
	}
	publish("11")
	r.start()
	p.await(t, line(11))
	missing, next := slices.Index(p.logged(), "gap"), slices.Index(p.logged(), "you too many to be kept")
	assert.Positive(t, missing)
	assert.Greater(t, next, missing, "the gap stands where comments are missing")
	assert.Len(t, slices.DeleteFunc(p.logged(), func(line string) bool { return line != "gap" }), 1)
}

func saysWhatWasAskedWrongly(t *testing.T, start watcher) {
	t.Helper()
	redis := brokertest.Embedded(t)
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL()})
	r.start()
	start(t, r.URL, options{History: 5000}).await(t, "closed: history must be a whole number from 0 to 1000 400")
}

func startCommentAPI(t *testing.T, redis *brokertest.Redis) *servertest.Service {
	t.Helper()
	cfg := servertest.Defaults(t, func(cfg *commentapi.Config) { cfg.Redis.RedisURL, cfg.Reports.StatisticsAPIURL = redis.URL(), "" })
	return servertest.Start(t, &cfg.Server, "comment-1", func(ctx context.Context) error { return commentapi.Run(ctx, cfg) }).AwaitReady(t)
}

func postsWhatOthersSee(t *testing.T, start watcher) {
	t.Helper()
	redis := brokertest.Real(t)
	api := startCommentAPI(t, redis)
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL()})
	r.start()
	other := clientInNode(t, r.URL, options{})
	other.await(t, "connected reader-1")
	const text = "<script>alert(1)</script>"
	start(t, r.URL, options{posts: map[string]string{"url": api.URL, "comment": text}}).await(t, "stored as "+text)
	other.await(t, "you "+text)
}

func TestThePageOfTheClientsReadmeShowsAndPostsComments(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	api := startCommentAPI(t, redis)
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL()})
	r.start()
	s := newClientSite(t)
	text, err := os.ReadFile(filepath.Join(filepath.Dir(library), "README.md"))
	require.NoError(t, err)
	_, after, _ := strings.Cut(string(text), "```html\n")
	pasted, _, found := strings.Cut(after, "```\n")
	require.True(t, found)
	pasted = strings.NewReplacer("http://localhost:5000", s.URL, "http://localhost:4001", r.URL, "http://localhost:3000", api.URL).Replace(pasted)
	// Somebody looks at the page, and posts as soon as it is connected.
	somebody := `<link rel="icon" href="data:,"><script>
		new MutationObserver(([{ addedNodes }]) => console.log(addedNodes[0].textContent)).observe(comments, { childList: true });
		new MutationObserver((_, observer) => {
			if (!state.textContent.startsWith("open")) return;
			observer.disconnect();
			form.text.value = "<b>hello</b>";
			form.requestSubmit();
		}).observe(state, { childList: true });
	</script>`
	s.mux.HandleFunc("/pasted", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, pasted+somebody)
	})
	p := open(t, chromium, "the pasted page", s.URL+"/pasted")
	p.await(t, "me: <b>hello</b>")
	assert.Equal(t, []string{"me: <b>hello</b>"}, p.logged())
}

func TestAPageWithoutAnOriginHasAStreamOfItsOwn(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Embedded(t)
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL()})
	r.start()
	s := newClientSite(t)
	tell := `console.log = (...words) => parent.postMessage(words.join(" "), "*");`
	open(t, chromium, "a page in a sandbox", s.sandbox(tell+watching(t, s.URL+"/client.js", r.URL, options{}))).await(t, "connected reader-1")
}

func TestTabsShareOneStreamAndTakeItOverFromEachOther(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	s := newClientSite(t)
	r := newReader(t, "reader-1", []string{"REDIS_URL=" + redis.URL(), "HEARTBEAT=200ms"})
	r.start()
	publish := publishing(t, redis, func(*broker.Config) {})
	watch := func(name string, share bool) *tab {
		t.Helper()
		// What is frozen counts as gone when it has said nothing for 7.5 heartbeats.
		p := open(t, chromium, name, clientPage(t, s, r.URL, options{History: 100, Heartbeat: 1000, Share: &share}))
		p.await(t, "connected reader-1")
		return p
	}
	for number := range 3 {
		publish(fmt.Sprint(number + 1))
	}
	first := watch("the first tab", true)
	first.await(t, line(3))
	second, third, apart := watch("the second tab", true), watch("the third tab", true), watch("a tab with a stream of its own", false)
	r.awaitViewers(2) // of four

	next := 4
	see := func(tabs ...*tab) {
		t.Helper()
		for range 20 {
			publish(fmt.Sprint(next))
			next++
		}
		for _, p := range tabs {
			p.await(t, line(int64(next-1)))
			assert.Equal(t, upTo(int64(next-1)), comments(p), p.of)
		}
	}
	see(first, second, third, apart)

	first.visit(t, "about:blank")
	see(second, third, apart)
	r.awaitViewers(2)

	r.end(syscall.SIGKILL)
	publish(fmt.Sprint(next))
	next++
	r.start()
	see(second, third, apart)
	r.awaitViewers(2)

	freeze(t, second) // which has the stream
	see(third, apart)
	assert.NotContains(t, second.logged(), line(int64(next-1)), "it is frozen")
}

// freeze has a tab run no more, as a browser does with one that has been hidden for long.
func freeze(t *testing.T, p *tab) {
	t.Helper()
	_, err := chromedp.Call(p.ctx, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: "frozen"})
	require.NoError(t, err)
}
