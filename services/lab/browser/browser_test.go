// Package browser_test runs the script that the documentation gives to whoever writes a web page.
package browser_test

import (
	"bufio"
	"cmp"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/comment"
)

func TestMain(m *testing.M) {
	runAsReader()
	goleak.VerifyTestMain(m)
}

// serve is a reader that gives one answer after another, 503 where it is nil, and keeps the last open. It sends the last event id
// of each request to asked: that of the header, which a browser keeps up to date, before that of the query, which it repeats.
func serve(t *testing.T, asked chan<- string, answers ...[]byte) *httptest.Server {
	t.Helper()
	done := make(chan struct{})
	next := make(chan []byte, len(answers))
	for _, answer := range answers {
		next <- answer
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- cmp.Or(r.Header.Get("Last-Event-ID"), r.URL.Query().Get("lastEventId"))
		answer := <-next
		if answer == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(answer)
		if len(next) == 0 {
			_ = http.NewResponseController(w).Flush()
			<-done
		}
	}))
	t.Cleanup(func() { close(done); server.Close() })
	return server
}

// hurried has a script wait for a quarter of the time. Only the script: what is around it must not have this setTimeout.
func hurried(script string) string {
	return "((setTimeout) => {\n" + script + "})((work, milliseconds) => setTimeout(work, milliseconds / 4));\n"
}

// runInNode runs a script in Node that knows an EventSource, and returns what it logs.
func runInNode(t *testing.T, script string) *console {
	t.Helper()
	shim, err := os.ReadFile("testdata/eventsource.js")
	require.NoError(t, err)
	return &startNode(t, "the script", string(shim)+script).console
}

// startNode runs a script in Node. What it logs is that of a page which requests nothing.
func startNode(t *testing.T, name, script string) *tab {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not in the PATH: what JavaScript does there is not tested")
	}
	file := filepath.Join(t.TempDir(), "script.js")
	require.NoError(t, os.WriteFile(file, []byte(script), 0o600))
	process := exec.Command(node, file)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	p := &tab{console: console{of: name}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.write(scanner.Text())
		}
		_ = process.Wait()
	}()
	t.Cleanup(func() { _ = process.Process.Kill(); <-ended })
	return p
}

// runInChromium runs a script in a page, and returns what it logs.
func runInChromium(t *testing.T, script string) *console {
	t.Helper()
	return &open(t, startChromium(t), "the script", newSite(t).page(script)).console
}

// expect checks what comes next.
func expect(t *testing.T, from <-chan string, want string) {
	t.Helper()
	select {
	case got := <-from:
		assert.Equal(t, want, got)
	case <-time.After(30 * time.Second):
		require.FailNow(t, "nothing came", "%q was expected", want)
	}
}

func TestTheDocumentedScriptShowsCommentsAndGapsAndComesBackWhereItWas(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, script string) *console{"Node": runInNode, "Chromium": runInChromium} {
		t.Run(name, func(t *testing.T) {
			connected := func(millis uint64) []byte {
				return event.Connected("me", "demo", "reader-1", &comment.ID{Millis: millis}, 10*time.Millisecond)
			}
			post := func(millis uint64, text string) []byte {
				return event.Comment(comment.ID{Millis: millis}, `{"userid":"you","videoid":"demo","comment":"`+text+`"}`)
			}
			asked := make(chan string, 100)
			reader := serve(t, asked,
				append(connected(1), post(2, "first")...),
				nil, // 503
				append(connected(2), event.Gap("demo", &comment.ID{Millis: 5})...),
				nil,
				append(connected(5), post(6, "second")...),
			)
			shown := run(t, hurried(documented(t, "docs/api.md", reader.URL)))

			expect(t, asked, "")
			expect(t, asked, "2-0") // by the browser, which gives up when it is answered 503
			expect(t, asked, "2-0") // by the script
			expect(t, asked, "5-0")
			expect(t, asked, "5-0")
			shown.await(t, "you second")
			assert.Equal(t, []string{"you first", "undefined (some comments are missing here)", "you second"}, shown.logged())
		})
	}
}
