// Package feed keeps a fanout.Topic for each video that somebody here watches, in step with Redis.
//
// A topic is subscribed to when its first viewer comes and, so that a viewer who reloads the page does not cost a
// resubscription, given up only some time after its last has left. Whenever Redis confirms a subscription (the first, and
// again after each interruption), the history is read and merged by id with what arrives meanwhile, so that nothing
// falls between:
//
//	             first viewer                confirmed                 history read
//	(no topic) ───────────────► subscribing ───────────► catching up ───────────────► live
//	    ▲                                                     ▲                         │ │
//	    │                                                     └──── confirmed again ────┘ │
//	    └──────────────────────────── no viewer for the linger time ──────────────────────┘
package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// ErrUnavailable says that a viewer cannot be given a position in the stream now, because Redis does not answer.
var ErrUnavailable = errors.New("redis is unavailable")

const (
	// warm is how many recent comments a topic starts with, for viewers that come from another reader and resume.
	warm = 32
	// catchUpBatch bounds the histories that are read in one round trip.
	catchUpBatch = 256
	// catchUpPause is the time before a history that could not be read is tried again.
	catchUpPause = 500 * time.Millisecond
	// suspicionPause is the time between two looks at a history because of ids that are not new.
	suspicionPause = time.Second
)

// Config bounds what a reader keeps for each video.
type Config struct {
	Linger           time.Duration `env:"LINGER" default:"30s" validate:"min=0" help:"How long a video stays subscribed after its last viewer has left."`
	SubscribeTimeout time.Duration `env:"SUBSCRIBE_TIMEOUT" default:"5s" validate:"min=10ms" help:"How long a new viewer may wait for Redis to confirm the subscription; after that the answer is 503."`
	BufferFrames     int           `env:"BUFFER_FRAMES" default:"1000" validate:"min=1" help:"Comments of a video that a viewer may be behind before it is moved ahead with a gap event."`
	BufferAge        time.Duration `env:"BUFFER_AGE" default:"30s" validate:"min=1s" help:"How long a reader keeps a comment for viewers that are behind or resume; older ones are read from the history."`
}

// Feed is the videos of one reader. It is safe for concurrent use.
type Feed struct {
	cfg          Config
	log          *zap.Logger
	broker       *broker.Broker
	subscription *broker.Subscription
	metrics      *metrics

	mu     sync.Mutex
	topics map[string]*topic
	behind queue
	// catching counts the topics whose history was not read since Redis last confirmed them.
	catching int
	wake     chan struct{}
}

// topic is guarded by Feed.mu, but for what fanout guards itself.
type topic struct {
	video   string
	viewers int
	linger  *time.Timer

	fanout *fanout.Topic // nil until the history was read for the first time
	ready  chan struct{} // closed when fanout is set
	live   bool          // what arrives goes to fanout; otherwise to pending
	// confirmations counts Redis' confirmations, so that a history that was read before the latest is not taken for its.
	confirmations int
	pending       []fanout.Frame
	overflowed    bool      // pending grew too long and was dropped: the history must be read once more
	suspected     time.Time // when a comment last came whose id was not new
}

// New makes a Feed without videos. It does nothing before Run.
func New(cfg Config, b *broker.Broker, log *zap.Logger) *Feed {
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

// Join adds a viewer to a video. When it returns, everything from the position on is certain to come after the place, or is
// announced there as a gap. leave ends the viewer's part in the video. The error is ErrUnavailable or that of ctx.
func (f *Feed) Join(ctx context.Context, video string, position Position) (place fanout.Place, leave func(), err error) {
	t := f.enter(video)
	if place, err = f.join(ctx, t, position); err != nil {
		f.leave(t)
		return place, nil, err
	}
	return place, func() { f.leave(t) }, nil
}

func (f *Feed) join(ctx context.Context, t *topic, position Position) (fanout.Place, error) {
	timeout := time.NewTimer(f.cfg.SubscribeTimeout)
	defer timeout.Stop()
	select {
	case <-t.ready:
	case <-timeout.C:
		return fanout.Place{}, ErrUnavailable
	case <-ctx.Done():
		return fanout.Place{}, ctx.Err()
	}
	if position.After == nil {
		if place, ok := t.fanout.Last(position.Last); ok {
			return place, nil
		}
	} else if place, ok := t.fanout.After(*position.After); ok {
		return place, nil
	}
	return f.replay(ctx, t, position)
}

// replay has the topic hold what it lacks of the history; the viewers of a reader that died come for the same.
func (f *Feed) replay(ctx context.Context, t *topic, position Position) (fanout.Place, error) {
	query := broker.Query{VideoID: t.video, Last: position.Last}
	if position.After != nil {
		query = broker.Query{VideoID: t.video, After: *position.After}
	}
	epoch := t.fanout.Epoch()
	pages, err := f.broker.History(ctx, query)
	if err == nil {
		err = pages[0].Err
	}
	if err != nil {
		if ctx.Err() != nil {
			return fanout.Place{}, ctx.Err()
		}
		f.log.Warn("history could not be read", zap.String("video", t.video), zap.Error(err))
		return fanout.Place{}, ErrUnavailable
	}
	page := pages[0]
	history := fanout.History{Frames: encode(page.Messages), Newest: page.Head, Beginning: page.Beginning, Floor: page.Head}
	if len(history.Frames) > 0 {
		history.Floor = history.Frames[0].ID.Previous()
	}
	if position.After == nil {
		t.fanout.Extend(epoch, history)
		place, _ := t.fanout.Last(position.Last)
		return place, nil
	}
	if page.Complete {
		history.Floor = *position.After
	}
	t.fanout.Extend(epoch, history)
	return t.fanout.Resume(*position.After, page.Complete), nil
}

func (f *Feed) enter(video string) *topic {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.topics[video]
	if t == nil {
		t = &topic{video: video, ready: make(chan struct{})}
		t.linger = time.AfterFunc(f.cfg.Linger, func() { f.giveUp(t) })
		f.topics[video] = t
		f.subscription.Add(video)
	}
	t.linger.Stop()
	t.viewers++
	return t
}

func (f *Feed) leave(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t.viewers--; t.viewers == 0 {
		t.linger.Reset(f.cfg.Linger)
	}
}

func (f *Feed) giveUp(t *topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The timer may have fired while a viewer came.
	if t.viewers == 0 && f.topics[t.video] == t {
		delete(f.topics, t.video)
		if t.catchingUp() {
			f.catching--
		}
		f.subscription.Remove(t.video)
	}
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

// Received is how many comments Redis has delivered to this reader.
func (f *Feed) Received() uint64 { return f.metrics.total.Load() }

// handler is the Feed as the subscription sees it.
type handler Feed

func (h *handler) Subscribed(video string) {
	f := (*Feed)(h)
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.topics[video]; t != nil {
		f.fallBehind(t)
	}
}

// fallBehind has the topic's history read; until then what arrives is held back.
func (f *Feed) fallBehind(t *topic) {
	if !t.catchingUp() {
		f.catching++
	}
	t.live, t.pending, t.overflowed = false, nil, false
	t.confirmations++
	f.behind.add(t, t.confirmations)
	f.rouse()
}

func (h *handler) Received(video string, message broker.Message) {
	f := (*Feed)(h)
	f.metrics.received(message.ID)
	frame := encodeOne(message)
	f.mu.Lock()
	t := f.topics[video]
	if t == nil {
		f.mu.Unlock()
		return
	}
	if t.live && t.suspicious(frame) {
		f.fallBehind(t)
	}
	if !t.live {
		t.hold(frame, f.cfg.BufferFrames)
		f.mu.Unlock()
		return
	}
	f.mu.Unlock()
	// Nobody else takes a topic out of its live state: the handler's methods for one video are called one at a time.
	t.fanout.Publish(frame)
}

func (h *handler) Connected() { h.metrics.connected.Set(1) }

func (h *handler) Interrupted(error) { h.metrics.connected.Set(0) }

// suspicious reports whether a comment's id is one that should have come before. Mostly it is in the history that was read
// and on its way at the same time; but where Redis has lost its data and its clock is behind, every new comment looks
// like that, and only the history can tell.
func (t *topic) suspicious(frame fanout.Frame) bool {
	if frame.ID.After(t.fanout.Head()) || time.Since(t.suspected) < suspicionPause {
		return false
	}
	t.suspected = time.Now()
	return true
}

// catchingUp reports whether Redis has confirmed the topic and its history was not read since.
func (t *topic) catchingUp() bool { return !t.live && t.confirmations > 0 }

func (t *topic) hold(frame fanout.Frame, most int) {
	if len(t.pending) == most {
		t.pending, t.overflowed = nil, true
	}
	if !t.overflowed {
		t.pending = append(t.pending, frame)
	}
}

// catchUp reads the histories of topics that Redis has confirmed, many in one round trip.
func (f *Feed) catchUp(ctx context.Context) {
	size := catchUpBatch
	for {
		batch, queries := f.takeBehind(size)
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
		if err != nil {
			// It may have been too much for one answer.
			size = max(1, size/2)
			pages = make([]broker.Page, len(batch))
			for i := range pages {
				pages[i].Err = err
			}
		} else {
			size = min(catchUpBatch, 2*size)
		}
		if failed := f.merge(batch, pages); len(failed) > 0 {
			time.AfterFunc(catchUpPause, func() { f.putBack(failed) })
		}
	}
}

func (f *Feed) takeBehind(most int) ([]behind, []broker.Query) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var batch []behind
	var queries []broker.Query
	for len(batch) < most {
		next, ok := f.behind.next()
		if !ok {
			break
		}
		if !f.current(next) {
			continue
		}
		query := broker.Query{VideoID: next.topic.video, Last: warm}
		if next.topic.fanout != nil {
			query = broker.Query{VideoID: next.topic.video, After: next.topic.fanout.Head()}
		}
		batch, queries = append(batch, next), append(queries, query)
	}
	return batch, queries
}

func (f *Feed) putBack(batch []behind) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range batch {
		f.behind.add(b.topic, b.confirmation)
	}
	f.rouse()
}

func (f *Feed) rouse() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// current reports whether b is about the latest confirmation of a topic that is still here.
func (f *Feed) current(b behind) bool {
	return f.topics[b.topic.video] == b.topic && b.topic.confirmations == b.confirmation
}

// merge joins each history with what has arrived since, and returns those that could not be read.
func (f *Feed) merge(batch []behind, pages []broker.Page) (failed []behind) {
	histories := make([][]fanout.Frame, len(batch))
	for i, page := range pages {
		histories[i] = encode(page.Messages)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, b := range batch {
		if !f.current(b) {
			continue
		}
		if err := pages[i].Err; err != nil {
			if len(failed) == 0 {
				f.log.Warn("history could not be read; trying again", zap.String("video", b.topic.video), zap.Error(err))
			}
			failed = append(failed, b)
			continue
		}
		if b.topic.fanout == nil {
			b.topic.begin(histories[i], pages[i].Beginning, f.cfg)
		} else {
			f.metrics.total.Add(uint64(len(histories[i])))
			b.topic.resume(histories[i], pages[i])
		}
		if b.topic.overflowed {
			f.fallBehind(b.topic)
			continue
		}
		b.topic.pending, b.topic.live = nil, true
		f.catching--
	}
	return failed
}

// begin makes the topic one that viewers can join. What has arrived and was in the history as well is known by its id.
func (t *topic) begin(history []fanout.Frame, beginning bool, cfg Config) {
	floor := comment.ID{}
	if len(history) > 0 {
		floor = history[0].ID.Previous()
	}
	t.fanout = fanout.NewTopic(t.video, fanout.Limits{Frames: cfg.BufferFrames, Age: cfg.BufferAge}, floor, history, beginning)
	t.fanout.Fill(t.pending...)
	close(t.ready)
}

// resume gives the viewers what they missed, after announcing what of it is lost.
func (t *topic) resume(history []fanout.Frame, page broker.Page) {
	var missed []fanout.Frame
	switch head := t.fanout.Head(); {
	case page.Complete:
	case head.After(page.Head):
		// Redis has lost what was delivered already, and may give its ids out again.
		t.fanout.Rewind(page.Head)
	case len(history) > 0 && history[0].ID.Previous().After(head):
		missed = append(missed, fanout.Frame{ID: history[0].ID.Previous(), Bytes: event.Gap(t.video, nil), Gap: true})
	}
	missed = append(missed, history...)
	t.fanout.Fill(append(missed, t.pending...)...)
}

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
		f.mu.Lock()
		topics := make([]*fanout.Topic, 0, len(f.topics))
		for _, t := range f.topics {
			if t.fanout != nil {
				topics = append(topics, t.fanout)
			}
		}
		f.mu.Unlock()
		for _, t := range topics {
			t.Trim()
		}
	}
}

func encode(messages []broker.Message) []fanout.Frame {
	frames := make([]fanout.Frame, len(messages))
	for i, message := range messages {
		frames[i] = encodeOne(message)
	}
	return frames
}

func encodeOne(message broker.Message) fanout.Frame {
	return fanout.Frame{ID: message.ID, Bytes: event.Comment(message.ID, message.Data)}
}
