package crowd_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

// serve runs a reader for a test.
func serve(t *testing.T, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close() })
	return server
}

func newCrowd(t *testing.T, doors ...*httptest.Server) *crowd.Crowd {
	t.Helper()
	var addresses []string
	for _, door := range doors {
		addresses = append(addresses, door.Listener.Addr().String())
	}
	c, err := crowd.New(addresses...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// watch sends a stream that goes on until the viewer leaves.
func watch(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, connected)
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

// sendOn answers that the stream is at another reader.
func sendOn(to *httptest.Server) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, to.URL+r.URL.RequestURI()+"&placed=mark", http.StatusTemporaryRedirect)
	}
}

func TestViewersConnectToAnyOfTheDoors(t *testing.T) {
	const viewers = 200
	var came [3]atomic.Int64
	var doors []*httptest.Server
	for i := range came {
		doors = append(doors, serve(t, func(w http.ResponseWriter, r *http.Request) {
			came[i].Add(1)
			watch(w, r)
		}))
	}
	c := newCrowd(t, doors[:2]...)
	require.NoError(t, c.Connect(20, make([]crowd.Viewer, viewers)...))
	await(t, c, func(f crowd.Figures) bool { return f.Connected == viewers })
	assert.EqualValues(t, viewers, came[0].Load()+came[1].Load())
	assert.Greater(t, came[0].Load(), int64(viewers/4))
	assert.Greater(t, came[1].Load(), int64(viewers/4))

	require.NoError(t, c.SetDoors(doors[2].Listener.Addr().String()))
	require.NoError(t, c.Connect(20, make([]crowd.Viewer, viewers)...))
	await(t, c, func(f crowd.Figures) bool { return f.Connected == 2*viewers })
	assert.EqualValues(t, viewers, came[2].Load())
}

func TestAViewerThatIsSentOnIsFollowed(t *testing.T) {
	const viewers = 100
	var asked sync.Map
	reader := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Query().Get("videoid"), r.URL.Query().Get("userid")+" "+r.URL.Query().Get("placed"))
		watch(w, r)
	})
	c := newCrowd(t, serve(t, sendOn(reader)))
	all := make([]crowd.Viewer, viewers)
	for i := range all {
		all[i].Video = fmt.Sprint("video-", i)
	}
	require.NoError(t, c.Connect(10, all...))
	f := await(t, c, func(f crowd.Figures) bool { return f.Connected == viewers })
	assert.Equal(t, crowd.Figures{Connected: viewers, Redirects: viewers}, f)
	for i := range all {
		query, _ := asked.Load(all[i].Video)
		assert.Regexp(t, fmt.Sprintf("^viewer-[0-9a-f]+-%d mark$", i), query)
	}
	times := c.Reset()
	assert.EqualValues(t, viewers, times.Redirected.TotalCount())
	assert.Zero(t, times.Direct.TotalCount())
}

func TestAViewerThatIsSentOnTwiceOrNowhereHasFailed(t *testing.T) {
	loop := httptest.NewUnstartedServer(nil)
	loop.Config.Handler = sendOn(&httptest.Server{URL: "http://" + loop.Listener.Addr().String()})
	loop.Start()
	defer loop.Close()
	gone := httptest.NewServer(nil)
	gone.Close()
	nowhere := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTemporaryRedirect) }
	for name, test := range map[string]struct {
		door *httptest.Server
		want crowd.Figures
	}{
		"twice":               {loop, crowd.Figures{Failed: 1, Redirects: 1, Loops: 1}},
		"to a dead reader":    {serve(t, sendOn(gone)), crowd.Figures{Failed: 1, Redirects: 1}},
		"without an address":  {serve(t, nowhere), crowd.Figures{Failed: 1}},
		"to another protocol": {serve(t, sendOn(&httptest.Server{URL: "https://127.0.0.1:4000"})), crowd.Figures{Failed: 1}},
		"to a name":           {serve(t, sendOn(&httptest.Server{URL: "http://localhost:4000"})), crowd.Figures{Failed: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCrowd(t, test.door)
			require.NoError(t, c.Connect(1, crowd.Viewer{}))
			assert.Equal(t, test.want, await(t, c, func(f crowd.Figures) bool { return f.Failed > 0 }))
		})
	}
}

// reader is a reader whose streams end after two comments each, so that its viewers see no more than those who return.
type reader struct {
	end    func(w http.ResponseWriter, asked int64)
	asked  atomic.Int64
	behind sync.Map // what each viewer has asked for after it came back, by its name
}

const perStream = 2

func (s *reader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	asked, seen := s.asked.Add(1), uint64(0)
	if id := r.Header.Get("Last-Event-ID"); id != "" {
		_, _ = fmt.Sscanf(id, "1700000000000-%d", &seen)
		s.behind.Store(r.URL.Query().Get("userid"), seen)
	}
	if asked%3 == 0 {
		w.Header().Set("Retry-After", "0")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	_, _ = fmt.Fprintf(w, "id: 1700000000000-%d\nretry: 1\ndata: {}\n\n", seen)
	for n := seen + 1; n <= seen+perStream; n++ {
		_, _ = fmt.Fprintf(w, "id: 1700000000000-%d\ndata: {\"comment\":\"%s\"}\n\n", n, crowd.Text(n, time.Now(), 60))
	}
	_ = http.NewResponseController(w).Flush()
	s.end(w, asked)
}

func TestAReturningViewerResumesWhereItWas(t *testing.T) {
	const viewers, streams = 20, 4
	for name, test := range map[string]struct {
		end     func(http.ResponseWriter, int64)
		unclean bool
	}{
		"asked to reconnect": {func(w http.ResponseWriter, _ int64) {
			_, _ = io.WriteString(w, "event: reconnect\nretry: 2\ndata: {\"reason\":\"moved\",\"retryMillis\":2}\n\n")
		}, false},
		"cut": {func(w http.ResponseWriter, _ int64) {
			_, _ = io.WriteString(w, "id: 1700000000000-99\ndata: half of")
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := &reader{end: test.end}
			c := newCrowd(t, serve(t, r.ServeHTTP))
			all := make([]crowd.Viewer, viewers)
			for i := range all {
				all[i].Returning = true
			}
			require.NoError(t, c.Connect(5, all...))
			await(t, c, func(f crowd.Figures) bool { return f.Returned >= viewers*streams })
			f := c.Reset()
			assert.Zero(t, f.Missing+f.Duplicates+f.Misordered+f.Gaps, "%+v", f)
			assert.Equal(t, test.unclean, f.Unclean > 0)
			assert.Positive(t, f.Refused)
			assert.Zero(t, f.Failed)
			assert.EqualValues(t, f.Returned, f.Away.TotalCount())
			r.behind.Range(func(_, seen any) bool {
				return assert.Zero(t, seen.(uint64)%perStream, "a viewer resumes after what was whole")
			})
		})
	}
}

func TestAReturningViewerTriesUntilThereIsAReader(t *testing.T) {
	gone := httptest.NewServer(nil)
	gone.Close()
	c := newCrowd(t, gone)
	require.NoError(t, c.Connect(1, crowd.Viewer{Returning: true}))
	await(t, c, func(f crowd.Figures) bool { return f.Failed > 0 })
	require.NoError(t, c.SetDoors(serve(t, watch).Listener.Addr().String()))
	f := await(t, c, func(f crowd.Figures) bool { return f.Connected == 1 })
	assert.Zero(t, f.Returned, "it had no stream before")
}
