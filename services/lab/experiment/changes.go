package experiment

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/reports"
)

// Change is what was measured while a fleet changed under its viewers, who posted all the time.
type Change struct {
	// Name says what happened.
	Name    string         `json:"name"`
	Routing placement.Name `json:"routing"`
	From    int            `json:"from"`
	To      int            `json:"to"`
	// SettledSeconds is the time from the change until all viewers had a stream where it belongs and no reader that was to go was
	// there, and Settled whether that came to be.
	SettledSeconds float64 `json:"settledSeconds"`
	Settled        bool    `json:"settled"`
	// Astray is the most viewers that were seen at another reader than the one where they belong.
	Astray float64 `json:"astray"`
	// Moved are the streams that readers ended because they belonged elsewhere. PeakMoved is the most of them in a second, and
	// MoveBound the most that the readers' MOVE_RATE allows.
	Moved     float64 `json:"moved"`
	PeakMoved float64 `json:"peakMovedPerSecond"`
	MoveBound float64 `json:"moveBoundPerSecond"`
	// Reconnects are streams that began anew, for whatever reason, and PeakReconnects the most in a second.
	Reconnects     uint64  `json:"reconnects"`
	PeakReconnects float64 `json:"peakReconnectsPerSecond"`
	// OutageMillis is how long those viewers were without a stream who lost theirs, also the few who were moved before the change.
	OutageMillis  reports.Latency      `json:"outageMillis"`
	Verification  reports.Verification `json:"verification"`
	LatencyMillis reports.Latency      `json:"latencyMillis"`
	// Share and Busiest are those of the fleet afterwards.
	Share   simulate.Spread `json:"share"`
	Busiest float64         `json:"busiest"`
	Samples []Sample        `json:"samples"`
}

// Sample is the state at one moment, some time after a change.
type Sample struct {
	Seconds             float64 `json:"seconds"`
	Misplaced           float64 `json:"misplaced"`
	Connected           int     `json:"connected"`
	MovedPerSecond      float64 `json:"movedPerSecond"`
	ReconnectsPerSecond float64 `json:"reconnectsPerSecond"`

	at         time.Time
	moved      float64
	reconnects uint64
}

// moveRate is the readers' default MOVE_RATE: the part of its streams that a reader may move in a second.
const moveRate = 0.02

// change is one that is tried.
type change struct {
	name     string
	routing  placement.Name
	from, to int
	doors    int // how many of the readers viewers connect to
	do       func(*system, context.Context) error
}

// measureChanges has readers come, go and die.
func (e *experiment) measureChanges(ctx context.Context) error {
	if !e.wants(changesPart) {
		return nil
	}
	few, more, middle := e.Readers[0], 2*e.Readers[0], max(2, e.middle())
	out := func(s *system, ctx context.Context) error { return s.addReaders(ctx, more-few) }
	in := func(s *system, _ context.Context) error { s.end(more-few, (*reader).Tell); return nil }
	kill := func(s *system, _ context.Context) error { s.end(1, (*reader).Kill); return nil }
	all := []change{
		// Balancers know which readers come and which go.
		{"readers come", placement.Bounded, few, more, few, out},
		{"readers go", placement.Bounded, more, few, few, in},
		{"a reader is killed", placement.Bounded, middle, middle - 1, middle, kill},
		{"a reader is killed", placement.Random, middle, middle - 1, middle, kill},
	}
	e.say("changes: %d systems at once, in which readers come, go and are killed", len(all))
	measured := make([]Change, len(all))
	changing, ctx := errgroup.WithContext(ctx)
	for i, c := range all {
		changing.Go(func() (err error) {
			if measured[i], err = e.measureChange(ctx, c); err != nil {
				return fmt.Errorf("%s, %s: %w", c.name, c.routing, err)
			}
			e.say("changes: %s, %d to %d, %s: done", c.name, c.from, c.to, c.routing)
			return nil
		})
	}
	err := changing.Wait()
	e.output.Changes = measured
	return err
}

// end ends the last of the readers, so many.
func (s *system) end(readers int, by func(*reader)) {
	for _, r := range s.readers[len(s.readers)-readers:] {
		r.leaving = true
		by(r)
	}
}

func (e *experiment) measureChange(ctx context.Context, c change) (measured Change, err error) {
	measured = Change{Name: c.name, Routing: c.routing, From: c.from, To: c.to}
	s, err := e.start(ctx, c.routing, c.from)
	if err != nil {
		return measured, err
	}
	defer s.close()
	v, err := s.connect(ctx, popularity.Uniform, 4*connectRate, s.doors(c.doors))
	if err != nil {
		return measured, err
	}
	defer v.drop()
	if _, _, err := s.settle(ctx, v, time.Second, time.Minute, func(figures) {}); err != nil {
		return measured, err
	}
	if err := v.post(ctx, s.CommentsPerMinute); err != nil {
		return measured, err
	}
	if err := pause(ctx, time.Second); err != nil {
		return measured, err
	}
	w, err := s.newWatch(ctx, v)
	if err != nil {
		return measured, err
	}
	if err := c.do(s, ctx); err != nil {
		return measured, err
	}
	const stable, limit = 3 * time.Second, 2 * time.Minute
	doing := time.Since(w.began)
	after, settled, err := s.settle(ctx, v, stable, limit, w.look)
	if err != nil {
		return measured, err
	}
	measured.SettledSeconds, measured.Settled = (doing + after).Seconds(), settled
	last, err := v.leave(ctx)
	if err != nil {
		return measured, err
	}
	w.conclude(&measured, last)
	return measured, nil
}

// watch follows a system through a change.
type watch struct {
	*system
	viewers *viewers
	began   time.Time
	samples []Sample
	latest  figures // of each reader, also of those that have gone
	bound   float64
}

func (s *system) newWatch(ctx context.Context, v *viewers) (*watch, error) {
	now, err := s.read(ctx)
	w := &watch{system: s, viewers: v, began: time.Now(), latest: figures{}}
	w.look(now)
	return w, err
}

// look takes a sample.
func (w *watch) look(now figures) {
	bound := 0.0
	for name, of := range now {
		w.latest[name] = of
		bound += moveRate * of[streams]
	}
	w.bound = max(w.bound, bound)
	report := w.viewers.now()
	sample := Sample{
		Seconds: time.Since(w.began).Seconds(), Misplaced: now.sum(misplaced), Connected: report.Connected,
		at: time.Now(), moved: w.latest.sum(moved), reconnects: report.Reconnects,
	}
	// Rates are over a second.
	for i := len(w.samples) - 1; i >= 0; i-- {
		before := w.samples[i]
		if passed := sample.at.Sub(before.at); passed >= time.Second {
			sample.MovedPerSecond = (sample.moved - before.moved) / passed.Seconds()
			sample.ReconnectsPerSecond = float64(sample.reconnects-before.reconnects) / passed.Seconds()
			break
		}
	}
	w.samples = append(w.samples, sample)
}

func (w *watch) conclude(c *Change, last reports.Client) {
	first, end := w.samples[0], w.samples[len(w.samples)-1]
	c.Samples, c.MoveBound, c.Moved = w.samples, w.bound, end.moved-first.moved
	c.Reconnects = last.Reconnects - first.reconnects
	for _, sample := range w.samples {
		c.Astray = max(c.Astray, sample.Misplaced)
		c.PeakMoved = max(c.PeakMoved, sample.MovedPerSecond)
		c.PeakReconnects = max(c.PeakReconnects, sample.ReconnectsPerSecond)
	}
	c.Verification, c.OutageMillis, c.LatencyMillis = last.Verification, last.OutageMillis, last.LatencyMillis
	var share, held []float64
	for _, r := range w.readers {
		if !r.leaving {
			share = append(share, w.latest[r.name][topics]/float64(w.Videos))
			held = append(held, w.latest[r.name][streams])
		}
	}
	c.Share = simulate.SpreadOf(share)
	spread := simulate.SpreadOf(held)
	c.Busiest = spread.Max / spread.Mean
}
