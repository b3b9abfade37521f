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

// begin answers the request with the head of a stream.
func begin(a *api, c *gin.Context, viewer request, joined *feed.Stream, position feed.Position) *stream {
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
	if reason := s.flush(append(s.opening(), s.pending()...)...); reason != "" {
		return reason
	}
	a := s.api
	end, why := newTimer(a.cfg.StreamLifetime*4/5, a.cfg.StreamLifetime/5), "lifetime"
	defer func() { end.Stop() }()
	heartbeat := time.NewTimer(a.cfg.Heartbeat)
	defer heartbeat.Stop()
	draining := a.draining
	for {
		reason := ""
		select {
		case <-s.joined.Viewer.Wake():
			reason = s.flush(s.pending()...)
			heartbeat.Reset(a.cfg.Heartbeat)
		case <-heartbeat.C:
			reason = s.flush(fanout.Frame{Bytes: event.Heartbeat})
			heartbeat.Reset(a.cfg.Heartbeat)
		case <-draining:
			draining = nil
			end.Stop()
			end, why = newTimer(0, max(a.cfg.DrainPeriod, 1)), "drain"
		case <-end.C:
			if reason = s.flush(fanout.Frame{Bytes: event.Reconnect(why, a.retry())}); reason == "" {
				reason = why
			}
		case <-ctx.Done():
			reason = "left"
		}
		if reason != "" {
			return reason
		}
	}
}

// newTimer fires after at least and up to spread more; never where spread is 0.
func newTimer(least, spread time.Duration) *time.Timer {
	if spread <= 0 {
		timer := time.NewTimer(time.Hour)
		timer.Stop()
		return timer
	}
	return time.NewTimer(least + rand.N(spread))
}

// opening is the connected event, with the position from which on nothing is left out, and what comes from the history.
func (s *stream) opening() []fanout.Frame {
	a, joined := s.api, s.joined
	at := joined.Viewer.Cursor()
	position := &at
	switch {
	case s.position.After != nil && !joined.Gap:
		position = s.position.After
	case len(joined.Replay) > 0:
		position = nil
	}
	frames := []fanout.Frame{{Bytes: event.Connected(s.viewer.UserID, s.viewer.VideoID, a.instance, position, a.retry())}}
	if joined.Gap {
		frames = append(frames, fanout.Frame{Bytes: event.Gap(s.viewer.VideoID, position), Gap: true})
	}
	frames = append(frames, joined.Replay...)
	joined.Replay = nil
	return frames
}

// pending is what has come for the viewer since it was asked last.
func (s *stream) pending() []fanout.Frame {
	frames, gap := s.joined.Viewer.Next(s.frames[:0])
	s.frames = frames
	if !gap {
		return frames
	}
	var position *comment.ID
	if len(frames) == 0 {
		at := s.joined.Viewer.Cursor()
		position = &at
	}
	return append([]fanout.Frame{{Bytes: event.Gap(s.viewer.VideoID, position), Gap: true}}, frames...)
}

// flush writes frames and waits for the kernel to take them. It returns why the stream must end, or "".
func (s *stream) flush(frames ...fanout.Frame) string {
	if len(frames) == 0 {
		return ""
	}
	comments, gaps := uint64(0), uint64(0)
	for _, frame := range frames {
		// Every frame has the whole time: a viewer that takes a long replay slowly takes it all the same. Only the writers of
		// tests have no deadlines.
		_ = s.connection.SetWriteDeadline(time.Now().Add(s.api.cfg.WriteTimeout))
		if _, err := s.out.Write(frame.Bytes); err != nil {
			return reasonOf(err)
		}
		switch {
		case frame.Gap:
			gaps++
		case !frame.ID.IsZero():
			comments++
		}
	}
	if err := s.connection.Flush(); err != nil {
		return reasonOf(err)
	}
	s.api.sent.Add(comments)
	s.api.gaps.Add(gaps)
	s.forget()
	return ""
}

// forget lets go of the frames that are written: a quiet stream must not keep what a busy moment left.
func (s *stream) forget() {
	clear(s.frames)
	if cap(s.frames) > 64 {
		s.frames = nil
	}
}

func reasonOf(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "slow"
	}
	return "left"
}
