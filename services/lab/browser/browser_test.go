// Package browser_test runs the script that the documentation gives to whoever writes a web page.
package browser_test

import (
	"bufio"
	"cmp"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/comment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// documented is the script, as it is to be copied.
func documented(t *testing.T) string {
	t.Helper()
	for _, page := range []string{"docs/api.md", "README.md"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", page))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
			if strings.Contains(block[1], "function watch(") {
				return block[1]
			}
		}
	}
	require.FailNow(t, "neither docs/api.md nor README.md has a ```js block with `function watch(`")
	return ""
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
		_, _ = w.Write(answer)
		if len(next) == 0 {
			_ = http.NewResponseController(w).Flush()
			<-done
		}
	}))
	t.Cleanup(func() { close(done); server.Close() })
	return server
}

// run runs the script in Node, and sends the lines that it prints.
func run(t *testing.T, node, script string) <-chan string {
	t.Helper()
	shim, err := os.ReadFile("testdata/eventsource.js")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "script.js")
	// The script waits for seconds, and Node's own code must not have this setTimeout.
	whole := string(shim) + "((setTimeout) => {\n" + script + "})((work, milliseconds) => setTimeout(work, milliseconds / 4));\n"
	require.NoError(t, os.WriteFile(file, []byte(whole), 0o600))
	process := exec.Command(node, file)
	process.Stderr = os.Stderr
	out, err := process.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, process.Start())
	lines := make(chan string, 100)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			lines <- scanner.Text()
		}
		_ = process.Wait()
	}()
	t.Cleanup(func() { _ = process.Process.Kill(); <-ended })
	return lines
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
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("node is not in the PATH: the documented script is not tested")
	}
	connected := func(millis uint64) []byte {
		return event.Connected("me", "demo", "reader-1", &comment.ID{Millis: millis}, time.Second)
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
	address := regexp.MustCompile(`http://localhost:\d+/`)
	script := documented(t)
	require.Len(t, address.FindAllString(script, -1), 1, "the script names one reader")
	shown := run(t, node, address.ReplaceAllString(script, reader.URL+"/"))

	expect(t, asked, "")
	expect(t, shown, "you first")
	expect(t, asked, "2-0") // by the browser, which gives up when it is answered 503
	expect(t, asked, "2-0") // by the script
	expect(t, shown, "undefined (some comments are missing here)")
	expect(t, asked, "5-0")
	expect(t, asked, "5-0")
	expect(t, shown, "you second")
}
