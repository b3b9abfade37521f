// Package viewer is one simulated viewer: it watches one video over a reader's event stream, as a browser would, and
// comes back when the stream ends.
package viewer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tmaxmax/go-sse"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/client/ledger"
	"github.com/livecomments/livecomments/services/shared/comment"
)

const (
	// idleTimeout is how long a stream may bring nothing, not even a heartbeat, before it counts as dead.
	idleTimeout = 45 * time.Second
	// minBackoff and maxBackoff bound the time before another attempt, where the reader has not set it.
	minBackoff, maxBackoff = 250 * time.Millisecond, 5 * time.Second
)

// Viewer watches one video.
type Viewer struct {
	UserID, VideoID string
	// Readers are the base URLs to choose from, at random.
	Readers []string
	HTTP    *http.Client
	Log     *zap.Logger
	// Account records arrivals.
	Account *ledger.Log

	reader    atomic.Pointer[string]
	failures  int
	connected atomic.Bool
	avoid     string // the host of a reader
	// lastEventID is the last id that any event had, which a browser sends when it reconnects.
	lastEventID string
}

// Reader is the instance that the viewer is or was last connected to.
func (v *Viewer) Reader() string {
	if name := v.reader.Load(); name != nil {
		return *name
	}
	return ""
}

// Connected reports whether the viewer has a stream.
func (v *Viewer) Connected() bool { return v.connected.Load() }

// Run watches until ctx ends.
func (v *Viewer) Run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := v.watch(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// watch reads one stream, from its request to its end. It returns how long to wait before the next.
func (v *Viewer) watch(ctx context.Context) time.Duration {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reader := v.choose()
	response, err := v.request(ctx, reader)
	if err != nil {
		return v.failed(failedAt(err, reader), err, 0)
	}
	defer func() { _ = response.Body.Close() }()
	reader = response.Request.URL.String() // the reader that it was sent to, if it was
	if response.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(io.LimitReader(response.Body, 1<<10))
		return v.failed(reader, fmt.Errorf("%s: %s", response.Status, answer), retryAfter(response))
	}
	defer v.disconnected()
	idle := time.AfterFunc(idleTimeout, func() { cancel(errors.New("the stream has brought nothing")) })
	defer idle.Stop()
	body := &timedBody{response.Body, idle}
	for event, err := range sse.Read(body, nil) {
		if err != nil {
			return v.failed(reader, err, 0)
		}
		pause, ended, err := v.handle(event, reader)
		if err != nil {
			return v.failed(reader, err, 0)
		}
		if ended {
			return pause
		}
	}
	return v.failed(reader, errors.New("the stream ended without a word"), 0)
}

// failedAt is the URL at which a request has failed: that of the reader, or of another one that it was sent to.
func failedAt(err error, reader string) string {
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.URL
	}
	return reader
}

// host is the host of a URL, by which readers are told apart.
func host(reader string) string {
	parsed, err := url.Parse(reader)
	if err != nil {
		return reader
	}
	return parsed.Host
}

// choose picks a reader at random. It avoids the one that just failed or asked to reconnect, if there is another.
func (v *Viewer) choose() string {
	others := slices.DeleteFunc(slices.Clone(v.Readers), func(reader string) bool { return host(reader) == v.avoid })
	if len(others) == 0 {
		others = v.Readers
	}
	return others[rand.IntN(len(others))]
}

func (v *Viewer) request(ctx context.Context, reader string) (*http.Response, error) {
	query := url.Values{"userid": {v.UserID}, "videoid": {v.VideoID}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(reader, "/")+"/connect?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Accept", "text/event-stream")
	if v.lastEventID != "" {
		request.Header.Set("Last-Event-ID", v.lastEventID)
	}
	v.Account.Trying()
	return v.HTTP.Do(request)
}

// handle handles one event. When the event announces the stream's end, ended is true and pause is the time that the reader
// asks for.
func (v *Viewer) handle(event sse.Event, reader string) (pause time.Duration, ended bool, err error) {
	if event.LastEventID != "" {
		v.lastEventID = event.LastEventID
	}
	switch event.Type {
	case "gap":
		v.Account.Gap()
		return 0, false, nil
	case "reconnect":
		var body struct{ RetryMillis int64 }
		if err := json.Unmarshal([]byte(event.Data), &body); err != nil {
			return 0, false, fmt.Errorf("reconnect event: %w", err)
		}
		v.avoid = host(reader)
		return time.Duration(body.RetryMillis) * time.Millisecond, true, nil
	}
	if !v.connected.Load() {
		return 0, false, v.handleConnected(event)
	}
	var body struct{ VideoID string }
	id, errID := comment.ParseID(event.LastEventID)
	errData := json.Unmarshal([]byte(event.Data), &body)
	if errors.Join(errID, errData) == nil && body.VideoID == v.VideoID {
		v.Account.Arrived(id, time.Now())
	} else {
		v.Account.Corrupt()
	}
	return 0, false, nil
}

// handleConnected handles a stream's first event.
func (v *Viewer) handleConnected(event sse.Event) error {
	var body struct{ Type, Instance string }
	if err := json.Unmarshal([]byte(event.Data), &body); err != nil || body.Type != "connected" {
		return fmt.Errorf("the stream begins with %.100q", event.Data)
	}
	// A stream that resumes after a gap may state its position later. Only the first stream's is needed.
	position, err := comment.ParseID(v.lastEventID)
	if err != nil {
		return fmt.Errorf("connected event: %w", err)
	}
	v.Account.Connected(position)
	v.reader.Store(&body.Instance)
	v.connected.Store(true)
	v.failures, v.avoid = 0, ""
	return nil
}

// disconnected notes that a stream has ended, if it had begun.
func (v *Viewer) disconnected() {
	if v.connected.Swap(false) {
		v.Account.Ended()
	}
}

// failed logs why a stream ended, and returns how long to wait before the next: at least as long as asked, and longer with
// every failure in a row.
func (v *Viewer) failed(reader string, err error, asked time.Duration) time.Duration {
	v.avoid = host(reader)
	v.Log.Debug("stream ended", zap.String("user", v.UserID), zap.String("reader", reader), zap.Error(err))
	pause := min(maxBackoff, minBackoff<<min(v.failures, 10))
	v.failures++
	pause = max(pause, asked)
	return pause/2 + rand.N(pause)
}

func retryAfter(response *http.Response) time.Duration {
	seconds, err := strconv.Atoi(response.Header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return min(time.Minute, time.Duration(seconds)*time.Second)
}

// timedBody is a stream's body that restarts the idle timer at every read.
type timedBody struct {
	io.Reader
	idle *time.Timer
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if n > 0 {
		b.idle.Reset(idleTimeout)
	}
	return n, err
}
