package feed

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/comment"
)

const (
	// DefaultCheckInterval is the time between two checks. A video that has received something since the last is passed over: its
	// chain is whole up to that. So a hole that nothing follows is seen at the second check after it, within 30 s.
	DefaultCheckInterval = 12 * time.Second
	// checkBatch bounds the videos that are asked for in one round trip, for which Redis does nothing else.
	checkBatch = 1000
	// checkGrace is how long a message may be on its way.
	checkGrace = time.Second
)

// suspect is a topic that had not received the newest message of its history when it was asked for.
type suspect struct {
	topic *topic
	head  comment.ID
}

// check compares, at every interval until ctx ends, what each quiet topic has received last with the newest message in its
// history. The chain shows a hole at the next message; this shows one that nothing follows.
func (f *Feed) check(ctx context.Context) {
	// Readers that began together do not all ask together.
	timer := time.NewTimer(rand.N(f.cfg.CheckInterval))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(f.cfg.CheckInterval)
		suspects := f.suspects(ctx)
		if len(suspects) == 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(checkGrace):
		}
		f.catchUpSuspects(suspects)
	}
}

func (f *Feed) suspects(ctx context.Context) (suspects []suspect) {
	for batch := range slices.Chunk(f.all(), checkBatch) {
		var quiet []suspect
		var videos []string
		for _, t := range batch {
			if head, ok := t.quietHead(); ok {
				quiet, videos = append(quiet, suspect{topic: t, head: head}), append(videos, t.video)
			}
		}
		if len(quiet) == 0 {
			continue
		}
		heads, err := f.broker.Heads(ctx, videos...)
		if err != nil {
			f.log.Debug("the newest comments could not be asked for", zap.Error(err))
			return suspects
		}
		for i, s := range quiet {
			if heads[i] != s.head {
				suspects = append(suspects, s)
			}
		}
	}
	return suspects
}

// catchUpSuspects has the histories read of those that have still received nothing.
func (f *Feed) catchUpSuspects(suspects []suspect) {
	for _, s := range suspects {
		s.topic.mu.Lock()
		if s.topic.state == live && s.topic.head == s.head {
			f.startCatchUp(s.topic)
			s.topic.suspected = true
		}
		s.topic.mu.Unlock()
	}
}

// missed notes that a check has found a hole. A connection on which a message did not come may not bring others either, and
// is replaced.
func (f *Feed) missed(t *topic) {
	f.metrics.holes.WithLabelValues("check").Inc()
	f.log.Warn("Redis has not delivered the newest comments of a video, though it seemed connected", zap.String("video", t.video))
	f.subscription.Distrust(t.video)
}

// quietHead is what a live topic has received last, if it has received nothing since this was asked before.
func (t *topic) quietHead() (head comment.ID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	quiet := t.state == live && !t.received
	t.received = false
	return t.head, quiet
}
