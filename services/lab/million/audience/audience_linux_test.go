package audience_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/million/audience"
)

const crowdVariable = "RUN_CROWD"

// The crowds of the tests are this program once more.
func TestMain(m *testing.M) {
	if os.Getenv(crowdVariable) == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := (&audience.Command{}).Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func start(t *testing.T, crowds int) *audience.Audience {
	t.Helper()
	a, err := audience.Start(crowds, func() *exec.Cmd {
		command := exec.Command(os.Args[0])
		command.Env = append(os.Environ(), crowdVariable+"=1")
		return command
	})
	require.NoError(t, err)
	t.Cleanup(a.Close)
	return a
}

// reader sends every viewer two comments, and counts the viewers of each video.
type reader struct {
	mu      sync.Mutex
	viewers map[string]int
}

func (s *reader) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.viewers[r.URL.Query().Get("videoid")]++
	s.mu.Unlock()
	_, _ = io.WriteString(w, "id: 0-0\ndata: {}\n\n")
	for n := range uint64(2) {
		_, _ = fmt.Fprintf(w, "id: 1-%d\ndata: {\"comment\":\"%s\"}\n\n", n, crowd.Text(n+1, time.Now(), 60))
	}
	_ = http.NewResponseController(w).Flush()
	<-r.Context().Done()
}

func TestAnAudienceIsTheSumOfItsCrowds(t *testing.T) {
	const viewers, videos = 100, 7
	r := &reader{viewers: map[string]int{}}
	server := httptest.NewServer(r)
	defer server.Close()
	a := start(t, 3)
	f, err := a.Figures()
	require.NoError(t, err)
	assert.Zero(t, f, "nobody has come")

	doors := []string{server.Listener.Addr().String()}
	require.NoError(t, a.Connect(viewers, audience.Assembly{Doors: doors, Videos: videos, AtOnce: 5}))
	require.Eventually(t, func() bool {
		f, err = a.Figures()
		return assert.NoError(t, err) && f.Connected == viewers && f.Arrived == 2*viewers
	}, 30*time.Second, time.Millisecond)
	f, err = a.Reset()
	require.NoError(t, err)
	assert.Zero(t, f.Wrong())
	assert.EqualValues(t, 2*viewers, f.Latency.TotalCount())
	assert.Positive(t, f.Latency.Quantile(50))
	assert.EqualValues(t, viewers, f.Direct.TotalCount())
	f, err = a.Reset()
	require.NoError(t, err)
	assert.Zero(t, f.Arrived)
	assert.Equal(t, viewers, f.Connected)

	for number := range videos {
		assert.InDelta(t, viewers/float64(videos), r.viewers[audience.Video(number)], 1, "viewers of a video")
	}
	assert.Len(t, r.viewers, videos)
	a.Close()
}

func TestAnAudienceSaysWhatKeepsItFromConnecting(t *testing.T) {
	a := start(t, 2)
	require.ErrorContains(t, a.Connect(10, audience.Assembly{Doors: []string{"here"}, Videos: 1, AtOnce: 1}), "127.0.0.1:4000")
	a.Processes()[0].Kill()
	_, err := a.Figures()
	require.ErrorContains(t, err, "a crowd of viewers does not answer")
}

func TestACrowdEndsWithItsInput(t *testing.T) {
	var out strings.Builder
	require.NoError(t, (&audience.Command{In: strings.NewReader("{}\n{\"reset\":true}\n"), Out: &out}).Run(t.Context()))
	assert.Equal(t, 2, strings.Count(out.String(), "\n"), out.String())
	require.Error(t, (&audience.Command{In: strings.NewReader("{]"), Out: &out}).Run(t.Context()))
}
