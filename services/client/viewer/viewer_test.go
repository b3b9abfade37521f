package viewer_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/client/ledger"
	"github.com/livecomments/livecomments/services/client/viewer"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/port"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a reader that answers each request with the next of its scripts, and repeats the last.
type scripted struct {
	*httptest.Server
	mu      sync.Mutex
	resumed []string // the Last-Event-ID of each request
	scripts []script
}

type script struct {
	status int
	header map[string]string
	body   string
	hold   bool // keep the stream open
	cut    bool // end the connection without the last chunk
}

func newScripted(t *testing.T, scripts ...script) *scripted {
	s := &scripted{scripts: scripts}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		next := s.scripts[0]
		if len(s.scripts) > 1 {
			s.scripts = s.scripts[1:]
		}
		s.resumed = append(s.resumed, r.Header.Get("Last-Event-ID"))
		s.mu.Unlock()
		for name, value := range next.header {
			w.Header().Set(name, value)
		}
		w.WriteHeader(next.status)
		_, _ = fmt.Fprint(w, next.body)
		w.(http.Flusher).Flush()
		if next.hold {
			<-r.Context().Done()
		}
		if next.cut {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *scripted) positions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.resumed...)
}

const connected = "id: 100-0\nretry: 1\ndata: {\"type\":\"connected\",\"userid\":\"u\",\"videoid\":\"v\",\"instance\":\"r\"}\n\n"

func resumed(n int) string { return strings.Replace(connected, "100-0", fmt.Sprintf("%d-0", n), 1) }

func event(n int) string {
	return fmt.Sprintf("id: %d-0\ndata: {\"userid\":\"p\",\"videoid\":\"v\",\"comment\":\"%d\",\"timestamp\":\"x\"}\n\n", n, n)
}

// watch runs a viewer until until is true, and returns what it has got.
func watch(t *testing.T, until func(*viewer.Viewer, ledger.Counts) bool, book *ledger.Ledger, readers ...string) ledger.Counts {
	t.Helper()
	return watchAndLog(t, zap.NewNop(), until, book, readers...)
}

func watchAndLog(t *testing.T, log *zap.Logger, until func(*viewer.Viewer, ledger.Counts) bool, book *ledger.Ledger, readers ...string) ledger.Counts {
	t.Helper()
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	v := &viewer.Viewer{UserID: "u", VideoID: "v", Readers: readers, HTTP: &http.Client{Transport: transport}, Log: log, Account: book.NewLog("v")}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); v.Run(ctx) }()
	require.Eventually(t, func() bool { return until(v, v.Account.Counts()) }, 10*time.Second, time.Millisecond)
	cancel()
	<-done
	book.Check(true)
	return v.Account.Counts()
}

func TestAViewerNoticesAReaderThatMisbehaves(t *testing.T) {
	tests := map[string]struct {
		body                            string
		missing, duplicates, disordered uint64
	}{
		"it behaves":               {event(101) + event(102) + event(103), 0, 0, 0},
		"it leaves one out":        {event(101) + event(103), 1, 0, 0},
		"it sends one twice":       {event(101) + event(102) + event(102) + event(103), 0, 1, 0},
		"it swaps two":             {event(102) + event(101) + event(103), 0, 0, 1},
		"it sends another video's": {event(101) + event(102) + strings.Replace(event(103), `"videoid":"v"`, `"videoid":"w"`, 1), 1, 0, 0},
		"it sends rubbish":         {event(101) + event(102) + "id: 103-0\ndata: rubbish\n\n", 1, 0, 0},
		"it announces a gap":       {"event: gap\nid: 102-0\ndata: {}\n\n" + event(103), 2, 0, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			reader := newScripted(t, script{status: 200, body: ": hello\n\n" + connected + test.body, hold: true})
			book := ledger.New()
			for n := uint64(101); n <= 103; n++ {
				book.Posted("v", comment.ID{Millis: n}, time.Now())
			}
			counts := watch(t, func(_ *viewer.Viewer, c ledger.Counts) bool {
				return book.Due() == 0 && c.Consumed > 0 || c.Corrupt > 0
			}, book, reader.URL)
			assert.Equal(t, test.missing, counts.Missing, "missing")
			assert.Equal(t, test.duplicates, counts.Duplicates, "duplicates")
			assert.Equal(t, test.disordered, counts.Misordered, "misordered")
		})
	}
}

func TestAViewerComesBackWithTheLastIDItSaw(t *testing.T) {
	reader := newScripted(t,
		script{status: 200, body: connected}, // ends before a comment came
		script{status: 503, header: map[string]string{"Retry-After": "0"}, body: `{"error":"full"}`},
		script{status: 200, body: connected + event(101) + event(102)},
		script{status: 200, body: resumed(102) + "event: reconnect\ndata: {\"type\":\"reconnect\",\"retryMillis\":1}\n\n"},
		script{status: 200, body: resumed(102) + event(103), hold: true})
	counts := watch(t, func(_ *viewer.Viewer, c ledger.Counts) bool { return c.Consumed == 3 }, ledger.New(), reader.URL)
	assert.Equal(t, []string{"", "100-0", "100-0", "102-0", "102-0"}, reader.positions())
	assert.Equal(t, uint64(3), counts.Reconnects)
}

func TestAViewerKnowsAStreamThatEndedFromOneThatWasCut(t *testing.T) {
	const reconnect = "event: reconnect\ndata: {\"type\":\"reconnect\",\"retryMillis\":1}\n\n"
	for name, test := range map[string]struct {
		first  script
		failed []string
	}{
		"it was asked to reconnect":                 {script{status: 200, body: connected + reconnect}, nil},
		"it was told nothing":                       {script{status: 200, body: connected + event(101)}, []string{"the stream ended without a word"}},
		"the last chunk did not come":               {script{status: 200, body: connected + event(101), cut: true}, []string{"unexpected EOF"}},
		"nor did the last event's end":              {script{status: 200, body: connected + event(101)[:30], cut: true}, []string{"unexpected EOF"}},
		"all chunks came, the last event's end not": {script{status: 200, body: connected + event(101)[:30]}, []string{"the stream ended without a word"}},
	} {
		t.Run(name, func(t *testing.T) {
			core, logged := observer.New(zap.DebugLevel)
			reader := newScripted(t, test.first, script{status: 200, body: connected, hold: true})
			watchAndLog(t, zap.New(core), func(_ *viewer.Viewer, c ledger.Counts) bool { return c.Reconnects == 1 }, ledger.New(), reader.URL)
			var failed []string
			// The last entry is of the stream that the test ends.
			for _, entry := range logged.All()[:logged.Len()-1] {
				failed = append(failed, entry.ContextMap()["error"].(string))
			}
			assert.Equal(t, test.failed, failed)
		})
	}
}

func TestAViewerAvoidsTheReaderThatItWasSentToInVain(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, what)
	}
	sent := false
	full := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note("full" + r.URL.Query().Get("placed"))
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	t.Cleanup(full.Close)
	door := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		note("door")
		if !sent {
			sent = true
			http.Redirect(w, r, full.URL+"/connect?placed=yes", http.StatusTemporaryRedirect)
			return
		}
		_, _ = fmt.Fprint(w, connected)
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(door.Close)
	watch(t, func(v *viewer.Viewer, _ ledger.Counts) bool { return v.Connected() }, ledger.New(), door.URL, full.URL+"/")
	mu.Lock()
	defer mu.Unlock()
	assert.Equal(t, []string{"door", "fullyes", "door"}, asked[len(asked)-3:])
}

func TestAViewerTellsHowLongItWasWithoutAStream(t *testing.T) {
	const reconnect = "event: reconnect\ndata: {\"type\":\"reconnect\",\"retryMillis\":1}\n\n"
	reader := newScripted(t,
		script{status: 503, header: map[string]string{"Retry-After": "0"}}, // the first stream is not one that returns
		script{status: 200, body: connected + reconnect},
		script{status: 200, body: connected + event(101), cut: true},
		script{status: 503, header: map[string]string{"Retry-After": "0"}},
		script{status: 200, body: connected, hold: true})
	book := ledger.New()
	watch(t, func(_ *viewer.Viewer, c ledger.Counts) bool { return c.Reconnects == 2 }, book, reader.URL)
	assert.Equal(t, int64(3), book.Times().FirstEvent.Count)
	assert.Equal(t, int64(2), book.Times().Outage.Count)
}

func TestAViewerLeavesAReaderThatAsksItTo(t *testing.T) {
	leave := script{status: 200, body: connected + "event: reconnect\ndata: {\"type\":\"reconnect\",\"retryMillis\":1}\n\n"}
	stay := script{status: 200, body: connected, hold: true}
	leaving, staying := newScripted(t, leave), newScripted(t, stay)
	watch(t, func(v *viewer.Viewer, _ ledger.Counts) bool { return v.Connected() && len(staying.positions()) == 1 }, ledger.New(), leaving.URL, staying.URL)
	assert.LessOrEqual(t, len(leaving.positions()), 1)
}

func TestAViewerWithOneReaderTwiceKeepsTrying(t *testing.T) {
	reader := newScripted(t, script{status: 503}, script{status: 200, body: connected, hold: true})
	watch(t, func(v *viewer.Viewer, _ ledger.Counts) bool { return v.Connected() }, ledger.New(), reader.URL, reader.URL)
}

func TestAfterAGapAViewerGoesOnWhereTheReaderDid(t *testing.T) {
	reader := newScripted(t,
		script{status: 200, body: connected + event(101) + "event: gap\nid: 200-0\ndata: {}\n\n"},
		script{status: 200, body: connected, hold: true})
	watch(t, func(_ *viewer.Viewer, c ledger.Counts) bool { return c.Reconnects == 1 }, ledger.New(), reader.URL)
	assert.Equal(t, []string{"", "200-0"}, reader.positions())
}

func TestAViewerGoesElsewhereWhenAReaderIsDown(t *testing.T) {
	down, err := port.Reserve()
	require.NoError(t, err)
	defer down.Release()
	up := newScripted(t, script{status: 200, body: connected, hold: true})
	watch(t, func(v *viewer.Viewer, _ ledger.Counts) bool { return v.Connected() && v.Reader() == "r" }, ledger.New(), "http://"+down.Address(), up.URL)
}
