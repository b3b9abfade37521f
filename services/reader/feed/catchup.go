package feed

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
)

const (
	// catchUpBatch bounds the histories that are read in one round trip.
	catchUpBatch = 256
	// catchUpPause is the time before a history that could not be read is tried again.
	catchUpPause = 500 * time.Millisecond
)

// startCatchUp has the history of t read. The caller holds t.mu.
func (f *Feed) startCatchUp(t *topic) {
	t.startCatchUp()
	f.enqueue(t)
}

func (f *Feed) enqueue(t *topic) {
	f.jobs.add(t)
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// enqueueAfter is enqueue after a pause, unless something else has happened to t by then.
func (f *Feed) enqueueAfter(pause time.Duration, b job) {
	time.AfterFunc(pause, func() {
		b.topic.mu.Lock()
		defer b.topic.mu.Unlock()
		if b.current() {
			f.enqueue(b.topic)
		}
	})
}

// current reports whether the topic's history is still to be read for the same reason. The caller holds its mu.
func (b job) current() bool { return b.topic.generation == b.generation }

// catchUp reads the histories of topics that are catching up, many in one round trip, until ctx ends.
func (f *Feed) catchUp(ctx context.Context) {
	size := catchUpBatch
	for {
		batch, queries := f.takeJobs(size)
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case <-f.wake:
			}
			continue
		}
		pages, err := f.broker.History(ctx, queries...)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			size = min(catchUpBatch, 2*size)
			f.merge(batch, pages)
			continue
		}
		f.log.Warn("histories could not be read; trying again", zap.Int("videos", len(batch)), zap.Error(err))
		for _, b := range batch {
			f.enqueueAfter(catchUpPause, b)
		}
		size = max(1, size/2) // it may have been too much for one answer
		select {
		case <-ctx.Done():
			return
		case <-time.After(catchUpPause):
		}
	}
}

func (f *Feed) takeJobs(most int) (batch []job, queries []broker.Query) {
	for len(batch) < most {
		next, ok := f.jobs.next()
		if !ok {
			break
		}
		next.topic.mu.Lock()
		if next.current() {
			batch, queries = append(batch, next), append(queries, next.topic.query())
		}
		next.topic.mu.Unlock()
	}
	return batch, queries
}

// merge joins each history with what has arrived since. Those that are not caught up with by that are read again.
func (f *Feed) merge(batch []job, pages []broker.Page) {
	failed := 0
	for i, b := range batch {
		if err := pages[i].Err; err != nil {
			if failed++; failed == 1 {
				f.log.Warn("history could not be read; trying again", zap.String("video", b.topic.video), zap.Error(err))
			}
			f.enqueueAfter(catchUpPause, b)
			continue
		}
		f.mergeOne(b, pages[i])
	}
}

func (f *Feed) mergeOne(b job, page broker.Page) {
	b.topic.mu.Lock()
	missed := f.mergeLocked(b, page)
	b.topic.mu.Unlock()
	if missed {
		f.missed(b.topic)
	}
}

// mergeLocked merges a page, and reports whether it has what a check suspected to be missing. The caller holds the topic's mu.
func (f *Feed) mergeLocked(b job, page broker.Page) (missed bool) {
	t := b.topic
	if !b.current() {
		return false
	}
	outcome := t.merge(page, fanout.Limits{Frames: f.cfg.BufferFrames, Age: f.cfg.BufferAge})
	f.metrics.total.Add(uint64(t.filled)) //nolint:gosec // a count
	if missed = t.suspected && t.filled > 0; missed {
		t.suspected = false
	}
	t.filled = 0
	switch outcome {
	case caughtUp:
	case readAll:
		f.enqueue(t)
	case readLater:
		f.enqueueAfter(t.pause(), b)
	}
	return missed
}
