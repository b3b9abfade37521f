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
	// CheckInterval is the time between two checks of a video.
	CheckInterval = 25 * time.Second
	// checkBatch bounds the histories whose newest messages are asked for in one round trip, for which Redis does nothing else.
	checkBatch = 500
	// checkGrace is how long a message may be on its way.
	checkGrace = time.Second
)

// suspect is a topic that had not received the newest message of its history when it was asked for.
type suspect struct {
	topic *topic
	head  comment.ID
	// lost says that the history holds nothing any more. Mostly it has expired.
	lost bool
}

// check compares, at every interval until ctx ends, what each live topic has received last with the newest message in its
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
		f.convict(suspects)
	}
}

func (f *Feed) suspects(ctx context.Context) (suspects []suspect) {
	for batch := range slices.Chunk(f.all(), checkBatch) {
		var live []suspect
		var videos []string
		for _, t := range batch {
			if head, ok := t.liveHead(); ok {
				live, videos = append(live, suspect{topic: t, head: head}), append(videos, t.video)
			}
		}
		if len(live) == 0 {
			continue
		}
		heads, err := f.broker.Heads(ctx, videos...)
		if err != nil {
			f.log.Debug("the newest comments could not be asked for", zap.Error(err))
			return suspects
		}
		for i, s := range live {
			if heads[i].Known && heads[i].ID != s.head {
				s.lost = heads[i].ID.IsZero()
				suspects = append(suspects, s)
			}
		}
	}
	return suspects
}

// convict has those caught up with that have received nothing since. A connection on which a message did not come may not
// bring others either, and is replaced.
func (f *Feed) convict(suspects []suspect) {
	holes := 0
	for _, s := range suspects {
		s.topic.mu.Lock()
		guilty := s.topic.state == live && s.topic.head == s.head
		if guilty {
			f.fallBehind(s.topic)
		}
		s.topic.mu.Unlock()
		if guilty && !s.lost {
			holes++
			f.subscription.Distrust(s.topic.video)
		}
	}
	if holes > 0 {
		f.metrics.holes.WithLabelValues("check").Add(float64(holes))
		f.log.Warn("Redis has not delivered the newest comments of some videos, though it seemed connected", zap.Int("videos", holes))
	}
}

// liveHead is what a live topic has received last.
func (t *topic) liveHead() (head comment.ID, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head, t.state == live
}
