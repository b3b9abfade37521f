package api

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"os"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/reader/feed"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// stream writes one viewer's events to its connection.
type stream struct {
	api        *api
	viewer     request
	joined     *feed.Stream
	position   feed.Position
	out        http.ResponseWriter
	connection *http.ResponseController
	frames     []fanout.Frame
}

func newStream(a *api, c *gin.Context, viewer request, joined *feed.Stream, position feed.Position) *stream {
	header := c.Writer.Header()
	header.Set("Content-Type", "text/event-stream")
	header.Set("Cache-Control", "no-store")
	header.Set("X-Accel-Buffering", "no")
	// A viewer whose stream ends comes back over a new connection, which a balancer can send to another reader.
	header.Set("Connection", "close")
	c.Status(http.StatusOK)
	c.Writer.WriteHeaderNow()
	// gin's own writer does not report that a flush failed.
	out := http.ResponseWriter(c.Writer)
	if wrapper, ok := out.(interface{ Unwrap() http.ResponseWriter }); ok {
		out = wrapper.Unwrap()
	}
	return &stream{api: a, viewer: viewer, joined: joined, position: position, out: out, connection: http.NewResponseController(out)}
}

// run writes until the viewer leaves, is too slow, or its stream has come to its end.
func (s *stream) run(ctx context.Context) {
	s.api.metrics.ended.WithLabelValues(s.write(ctx)).Inc()
}

// write returns the reason why the stream ended.
func (s *stream) write(ctx context.Context) string {
	if reason := s.flush(s.opening()); reason != "" {
		return reason
	}
	a := s.api
	end, why := newTimer(a.cfg.StreamLifetime*4/5, a.cfg.StreamLifetime/5), "lifetime"
	defer end.Stop()
	heartbeat := time.NewTimer(a.cfg.Heartbeat)
	defer heartbeat.Stop()
	draining := a.draining
	for {
		select {
		case <-s.joined.Viewer.Wake():
			if reason := s.flush(s.pending()); reason != "" {
				return reason
			}
			heartbeat.Reset(a.cfg.Heartbeat)
		case <-heartbeat.C:
			if reason := s.flush([]fanout.Frame{{Bytes: event.Heartbeat}}, 0); reason != "" {
				return reason
			}
			heartbeat.Reset(a.cfg.Heartbeat)
		case <-draining:
			draining = nil
			end.Stop()
			end, why = newTimer(0, max(a.cfg.DrainPeriod, 1)), "drain"
		case <-end.C:
			if reason := s.flush([]fanout.Frame{{Bytes: event.Reconnect(why, a.retry())}}, 0); reason != "" {
				return reason
			}
			return why
		case <-ctx.Done():
			return "left"
		}
	}
}

// newTimer fires after at least and up to a random spread more; never when both are 0.
func newTimer(least, spread time.Duration) *time.Timer {
	if spread <= 0 {
		timer := time.NewTimer(time.Hour)
		timer.Stop()
		return timer
	}
	return time.NewTimer(least + rand.N(spread))
}

// opening is the connected event, with the position from which on nothing is left out, and what comes from the history,
// and what the topic already holds for this viewer.
func (s *stream) opening() (frames []fanout.Frame, comments int) {
	a, joined := s.api, s.joined
	at := joined.Viewer.Cursor()
	position := &at
	switch {
	case s.position.After != nil && !joined.Gap:
		position = s.position.After
	case len(joined.Replay) > 0:
		position = nil
	}
	frames = append(frames, fanout.Frame{Bytes: event.Connected(s.viewer.UserID, s.viewer.VideoID, a.instance, position, a.retry())})
	if joined.Gap {
		a.gaps.Add(1)
		frames = append(frames, fanout.Frame{Bytes: event.Gap(s.viewer.VideoID, position), Gap: true})
	}
	frames = append(frames, joined.Replay...)
	comments = len(joined.Replay)
	joined.Replay = nil
	live, more := s.pending()
	return append(frames, live...), comments + more
}

// pending is what has come for the viewer since it was asked last, and how many comments are in it.
func (s *stream) pending() (frames []fanout.Frame, comments int) {
	clear(s.frames)
	live, gap := s.joined.Viewer.Next(s.frames[:0])
	s.frames = live
	comments = len(live)
	for _, frame := range live {
		if frame.Gap {
			comments--
			s.api.gaps.Add(1)
		}
	}
	if gap {
		s.api.gaps.Add(1)
		at := s.joined.Viewer.Cursor()
		var position *comment.ID
		if len(live) == 0 {
			position = &at
		}
		return append([]fanout.Frame{{Bytes: event.Gap(s.viewer.VideoID, position), Gap: true}}, live...), comments
	}
	return live, comments
}

// flush writes frames, of which some number are comments, and waits for the kernel to take them. It returns why the stream
// must end, or "".
func (s *stream) flush(frames []fanout.Frame, comments int) string {
	if len(frames) == 0 {
		return ""
	}
	// Only the writers of tests have no deadlines.
	_ = s.connection.SetWriteDeadline(time.Now().Add(s.api.cfg.WriteTimeout))
	for _, frame := range frames {
		if _, err := s.out.Write(frame.Bytes); err != nil {
			return reasonOf(err)
		}
	}
	if err := s.connection.Flush(); err != nil {
		return reasonOf(err)
	}
	//nolint:gosec // a count is not negative
	s.api.sent.Add(uint64(comments))
	return ""
}

func reasonOf(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "slow"
	}
	return "left"
}
