// Package feed keeps a fanout.Topic for each video that somebody here watches, in step with Redis.
//
// A topic is subscribed to when its first viewer comes and, so that a viewer who reloads the page does not cost a
// resubscription, given up only some time after its last has left. Whenever Redis confirms a subscription (the first, and
// again after each interruption), the history is read and merged with what arrives meanwhile, so that nothing falls between.
// Messages name their predecessors: one that does not follow what was received has the history read as well. See state.
//
// The locks are taken in this order: Feed.mu, then that of a topic, then those of its fanout.Topic and of the queue. Under
// Feed.mu, those of the broker's Subscription are taken too. The broker calls the handler with none of them held but the one
// that makes Connected and Interrupted alternate.
package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// ErrUnavailable says that a viewer cannot be given a position in the stream now, because Redis does not answer.
var ErrUnavailable = errors.New("redis is unavailable")

// warm is how many recent comments a topic starts with, for viewers that come from another reader and resume.
const warm = 32

// Config bounds what a reader keeps for each video.
type Config struct {
	Linger           time.Duration `env:"LINGER" default:"30s" validate:"min=0" help:"How long a video stays subscribed after its last viewer has left."`
	SubscribeTimeout time.Duration `env:"SUBSCRIBE_TIMEOUT" default:"5s" validate:"min=10ms" help:"How long a new viewer may wait for Redis, for the subscription and for what it resumes from; after that the answer is 503."`
	BufferFrames     int           `env:"BUFFER_FRAMES" default:"1000" validate:"min=1" help:"Comments of a video that a viewer may be behind before it is moved ahead with a gap event."`
	BufferAge        time.Duration `env:"BUFFER_AGE" default:"30s" validate:"min=1s" help:"How long a reader keeps a comment for viewers that are behind or resume; older ones are read from the history."`

	// CheckInterval replaces DefaultCheckInterval, for tests.
	CheckInterval time.Duration `kong:"-" validate:"-"`
}

// Feed is the videos of one reader. It is safe for concurrent use.
type Feed struct {
	cfg          Config
	log          *zap.Logger
	broker       *broker.Broker
	subscription *broker.Subscription
	metrics      *metrics
	jobs         queue
	wake         chan struct{} // wakes catchUp
	catching     atomic.Int64

	mu     sync.Mutex
	topics map[string]*topic
}

// New makes a Feed without videos. It does nothing before Run.
func New(cfg Config, b *broker.Broker, log *zap.Logger) *Feed {
	if cfg.CheckInterval == 0 {
		cfg.CheckInterval = DefaultCheckInterval
	}
	f := &Feed{cfg: cfg, log: log, broker: b, topics: map[string]*topic{}, wake: make(chan struct{}, 1)}
	f.metrics = newMetrics(f)
	f.subscription = b.NewSubscription((*handler)(f))
	return f
}

// Run receives from Redis until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	tasks.Go(func() { f.subscription.Run(ctx) })
	tasks.Go(func() { f.catchUp(ctx) })
	tasks.Go(func() { f.check(ctx) })
	tasks.Go(func() { f.trim(ctx) })
	tasks.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.topics {
		t.linger.Stop()
	}
}

// Position is where in a video's comments a viewer wants to start: after the comment that it saw last; else with the Last
// comments first; else with whatever comes next.
type Position struct {
	After *comment.ID
	Last  int
}

// Join adds a viewer to a video. When it returns, everything from the position on is certain to come after the cursor, or is
// announced there as a gap. leave ends the viewer's part in the video; a viewer that has moved to another reader is not waited
// for. The error is ErrUnavailable or that of ctx.
func (f *Feed) Join(ctx context.Context, video string, position Position) (cursor fanout.Cursor, leave func(moved bool), err error) {
	t := f.addViewer(video)
	if cursor, err = f.locate(ctx, t, position); err != nil {
		f.removeViewer(t, f.cfg.Linger)
		return cursor, nil, err
	}
	return cursor, func(moved bool) {
		if moved {
			f.removeViewer(t, 0)
		} else {
			f.removeViewer(t, f.cfg.Linger)
		}
	}, nil
}

// locate finds a viewer's cursor in what the topic holds, or else in the history, within SUBSCRIBE_TIMEOUT.
func (f *Feed) locate(ctx context.Context, t *topic, position Position) (fanout.Cursor, error) {
	limited, cancel := context.WithTimeout(ctx, f.cfg.SubscribeTimeout)
	defer cancel()
	cursor, err := f.find(limited, t, position)
	if err != nil && ctx.Err() == nil {
		err = ErrUnavailable
	}
	return cursor, err
}

func (f *Feed) find(ctx context.Context, t *topic, position Position) (fanout.Cursor, error) {
	select {
	case <-t.ready:
	case <-ctx.Done():
		return fanout.Cursor{}, ctx.Err()
	}
	if cursor, ok := lookUp(t, position); ok {
		return cursor, nil
	}
	return f.replay(ctx, t, position)
}

// lookUp is the cursor of a viewer where the topic holds all that it needs.
func lookUp(t *topic, position Position) (fanout.Cursor, bool) {
	if position.After != nil {
		return t.output.After(*position.After)
	}
	return t.output.Last(position.Last)
}

// addViewer counts a viewer of a video, and subscribes to it for the first.
func (f *Feed) addViewer(video string) *topic {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topics[video]
	if t == nil {
		t = newTopic(video, f.cfg.BufferFrames, &f.catching)
		t.linger = time.AfterFunc(f.cfg.Linger, func() { f.giveUp(t) })
		f.topics[video] = t
		f.subscription.Add(video)
	}
	t.linger.Stop()
	t.viewers.Add(1)
	return t
}

// removeViewer uncounts a viewer of a topic. When it was the last, the topic is given up after linger.
func (f *Feed) removeViewer(t *topic, linger time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.viewers.Add(-1) == 0 {
		t.linger.Reset(linger)
	}
}

func (f *Feed) giveUp(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The timer may have fired while a viewer came.
	if t.viewers.Load() > 0 || f.topics[t.video] != t {
		return
	}
	delete(f.topics, t.video)
	f.subscription.Remove(t.video)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.giveUp()
}

// Topics is the exact number of videos that the reader is subscribed to, and the names of up to most of them.
func (f *Feed) Topics(most int) (count int, videos []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	videos = make([]string, 0, min(most, len(f.topics)))
	for video := range f.topics {
		if len(videos) == most {
			break
		}
		videos = append(videos, video)
	}
	slices.Sort(videos)
	return len(f.topics), videos
}

// Audience is how many viewers a video has here.
func (f *Feed) Audience(video string) int {
	if t := f.topic(video); t != nil {
		return int(t.viewers.Load())
	}
	return 0
}

// Audiences calls each with every video that has viewers here, their number, and the topic that they follow.
func (f *Feed) Audiences(each func(video string, viewers int, topic *fanout.Topic)) {
	for _, t := range f.all() {
		viewers := int(t.viewers.Load())
		if viewers == 0 {
			continue
		}
		select {
		case <-t.ready:
			each(t.video, viewers, t.output)
		default: // its first viewers are still waiting
		}
	}
}

// Received is how many messages Redis has delivered to this reader, or were filled in from the history.
func (f *Feed) Received() uint64 { return f.metrics.total.Load() }

// all is every topic at the moment.
func (f *Feed) all() []*topic {
	f.mu.Lock()
	defer f.mu.Unlock()
	topics := make([]*topic, 0, len(f.topics))
	for _, t := range f.topics {
		topics = append(topics, t)
	}
	return topics
}

func (f *Feed) topic(video string) *topic {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.topics[video]
}

// handler is the Feed as the subscription sees it.
type handler Feed

func (h *handler) Subscribed(video string) {
	f := (*Feed)(h)
	t := f.topic(video)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.gone {
		f.startCatchUp(t)
	}
}

func (h *handler) Received(video string, m broker.Message) {
	f := (*Feed)(h)
	f.metrics.received(m)
	t := f.topic(video)
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.receive(m) {
		f.metrics.holes.WithLabelValues("predecessor").Inc()
		f.enqueue(t)
	}
}

func (h *handler) Connected() { h.metrics.connected.Set(1) }

func (h *handler) Interrupted(error) { h.metrics.connected.Set(0) }

// trim lets the frames of quiet videos go.
func (f *Feed) trim(ctx context.Context) {
	ticker := time.NewTicker(f.cfg.BufferAge)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, t := range f.all() {
			select {
			case <-t.ready:
				t.output.Trim()
			default:
			}
		}
	}
}
