package fanout

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// turn is how many streams a writer sees to before it looks at what else there is to do.
const turn = 64

// writer is a goroutine and the streams that only it touches.
type writer struct {
	engine *Engine
	poller poller

	mu      sync.Mutex
	inbox   todo
	drain   bool
	stopped bool
	wake    chan struct{}

	todo     todo
	streams  map[uint64]*stream
	token    uint64 // of the stream that came last
	parts    map[*Topic]*part
	rotation []*part
	alarms   alarms
	draining bool
	// drainEnds is when the last stream is to end, by Engine.now.
	drainEnds time.Duration
	batch     batch
	now       time.Duration // by Engine.now, at the beginning of the round

	comments, gaps, writes atomic.Uint64
	waiting                atomic.Int64
}

// todo is what others have told a writer.
type todo struct {
	joined  []*stream
	dirty   []*part
	signals []signal
	moves   []*move
}

// signal is what became of a stream's connection: it is writable again, the viewer has sent something, or it has left.
type signal struct {
	token      uint64
	sent, left bool
}

// part is the streams of one topic that belong to one writer.
type part struct {
	topic  *Topic
	writer *writer
	queued atomic.Bool // it is in the inbox

	// The streams stand in a circle. at is the next to be visited, and due how many still are, because frames have come.
	streams       []*stream
	at, unvisited int
	rotating      bool
}

func newWriter(e *Engine) (*writer, error) {
	poller, err := newPoller()
	return &writer{
		engine: e, poller: poller, wake: make(chan struct{}, 1), streams: map[uint64]*stream{}, parts: map[*Topic]*part{},
	}, err
}

// join hands a new stream over.
func (w *writer) join(s *stream) {
	w.mu.Lock()
	stopped := w.stopped
	if !stopped {
		w.inbox.joined = append(w.inbox.joined, s)
	}
	w.mu.Unlock()
	if stopped {
		w.end(s, Drain)
		return
	}
	w.wakeUp()
}

// dirty says that frames have come for a part.
func (w *writer) dirty(p *part) {
	if !p.queued.CompareAndSwap(false, true) {
		return
	}
	w.mu.Lock()
	w.inbox.dirty = append(w.inbox.dirty, p)
	w.mu.Unlock()
	w.wakeUp()
}

// signal says what became of connections.
func (w *writer) signal(signals ...signal) {
	w.mu.Lock()
	w.inbox.signals = append(w.inbox.signals, signals...)
	w.mu.Unlock()
	w.wakeUp()
}

// beginDrain has all streams end, and those that come later too.
func (w *writer) beginDrain() {
	w.mu.Lock()
	w.drain = true
	w.mu.Unlock()
	w.wakeUp()
}

func (w *writer) wakeUp() {
	select {
	case w.wake <- struct{}{}:
	default: // it is awake already and will see this too
	}
}

// run goes round until ctx ends. In every round each kind of work has its turn, and none more than that: a storm of new
// viewers, or of heartbeats, holds no comment up, nor does one video another.
func (w *writer) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for ctx.Err() == nil {
		w.now = w.engine.now()
		w.takeInbox()
		w.admit()
		w.handleSignals()
		w.makeMoves()
		w.fireAlarms()
		w.rotate()
		if len(w.todo.joined)+len(w.todo.signals)+len(w.todo.moves)+len(w.rotation) > 0 {
			continue
		}
		timer.Reset(w.untilNextAlarm())
		select {
		case <-ctx.Done():
		case <-w.wake:
		case <-timer.C:
		}
	}
	w.stop()
}

// takeInbox takes in what others have told.
func (w *writer) takeInbox() {
	w.mu.Lock()
	w.todo.joined = append(w.todo.joined, w.inbox.joined...)
	w.todo.signals = append(w.todo.signals, w.inbox.signals...)
	w.todo.moves = append(w.todo.moves, w.inbox.moves...)
	w.todo.dirty, w.inbox = append(w.todo.dirty, w.inbox.dirty...), todo{}
	drain := w.drain
	w.mu.Unlock()
	for _, p := range w.todo.dirty {
		w.enqueue(p)
	}
	w.todo.dirty = nil
	if drain && !w.draining {
		w.draining, w.drainEnds = true, w.now+w.engine.options.DrainPeriod
		for _, s := range w.streams {
			w.endAfter(s, Drain, 0, w.engine.options.DrainPeriod)
		}
	}
}

// pop takes the first n of queue, or all where there are fewer.
func pop[T any](queue *[]T, n int) []T {
	first := (*queue)[:min(n, len(*queue))]
	if *queue = (*queue)[len(first):]; len(*queue) == 0 {
		*queue = nil
	}
	return first
}

// admit takes new streams in, and writes to each at once.
func (w *writer) admit() {
	for _, s := range pop(&w.todo.joined, turn) {
		w.token++
		s.token = w.token
		w.streams[s.token] = s
		w.addToPart(s)
		if s.socket.watch(s.token) != nil {
			w.end(s, Left)
			continue
		}
		if s.wrote = w.now; s.gap {
			w.count(0, 1)
		}
		if lifetime := w.engine.options.Lifetime; lifetime > 0 {
			w.endAfter(s, Lifetime, lifetime*4/5, lifetime/5)
		}
		if w.draining {
			w.endAfter(s, Drain, 0, w.drainEnds-w.now)
		}
		w.visit(s)
		w.schedule(s)
	}
}

// addToPart makes s one of its part's streams.
func (w *writer) addToPart(s *stream) {
	p := w.parts[s.topic]
	if p == nil {
		p = &part{topic: s.topic, writer: w}
		w.parts[s.topic] = p
		s.topic.addPart(p)
	}
	s.part, s.index = p, len(p.streams)
	p.streams = append(p.streams, s)
	if p.unvisited > 0 {
		p.unvisited++ // where the circle closes it comes before some that are still to be visited
	}
}

// removeFromPart takes s out of its part.
func (w *writer) removeFromPart(s *stream) {
	p := s.part
	last := len(p.streams) - 1
	p.streams[s.index] = p.streams[last]
	p.streams[s.index].index = s.index
	p.streams[last] = nil
	p.streams = p.streams[:last]
	if p.unvisited > 0 {
		p.unvisited = last // the one that has moved may be taken for visited
	}
	if last == 0 {
		delete(w.parts, p.topic)
		p.topic.removePart(p)
	}
}

// enqueue gives a part with new frames its place in the rotation.
func (w *writer) enqueue(p *part) {
	p.queued.Store(false)
	p.unvisited = len(p.streams)
	if !p.rotating && p.unvisited > 0 {
		p.rotating = true
		w.rotation = append(w.rotation, p)
	}
}

// rotate gives the first parts in the rotation their turns.
func (w *writer) rotate() {
	for visits := 0; visits < turn && len(w.rotation) > 0; {
		p := pop(&w.rotation, 1)[0]
		for share := turn; share > 0 && p.unvisited > 0; share-- {
			if p.at >= len(p.streams) {
				p.at = 0
			}
			s := p.streams[p.at]
			p.at++
			p.unvisited--
			visits++
			if !s.waiting {
				w.visit(s)
			}
		}
		if p.rotating = p.unvisited > 0; p.rotating {
			w.rotation = append(w.rotation, p)
		}
	}
}

// handleSignals acts on signals.
func (w *writer) handleSignals() {
	for _, signal := range pop(&w.todo.signals, turn) {
		s := w.streams[signal.token]
		switch {
		case s == nil:
		case signal.left || signal.sent && s.socket.receive() != nil:
			w.end(s, Left)
		case s.waiting:
			w.visit(s)
		}
	}
}

// leastSilence is how long a host that is there may well be silent, between one question whether there is room again and the next.
const leastSilence = time.Second

// cut ends a stream whose viewer takes nothing.
func (w *writer) cut(s *stream) {
	if s.socket.silence() >= max(w.engine.options.WriteTimeout, leastSilence) {
		w.end(s, Lost)
	} else {
		w.end(s, Slow)
	}
}

// end closes a stream.
func (w *writer) end(s *stream, reason Reason) {
	if s.closed {
		return
	}
	s.closed = true
	if s.waiting {
		w.waiting.Add(-1)
	}
	if s.part != nil {
		delete(w.streams, s.token)
		w.removeFromPart(s)
	}
	s.socket.close(reason == Slow || reason == Lost)
	s.onEnd(reason)
	w.engine.open.Add(-1)
	// An alarm may hold it for a while.
	s.topic, s.part, s.rest, s.socket, s.onEnd = nil, nil, nil, nil, nil
}

// endAfter has s end after at least and up to spread more, unless it ends before that anyway.
func (w *writer) endAfter(s *stream, reason Reason, least, spread time.Duration) {
	if at := w.now + least + rand.N(max(spread, 1)); s.endAt == 0 || at < s.endAt {
		s.reason, s.endAt = reason, at
		w.schedule(s)
	}
}

func (w *writer) count(comments, gaps uint64) {
	if comments > 0 {
		w.comments.Add(comments)
	}
	if gaps > 0 {
		w.gaps.Add(gaps)
	}
}

// stop closes what is left.
func (w *writer) stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.takeInbox()
	for _, s := range w.todo.joined {
		w.end(s, Drain)
	}
	for _, s := range w.streams {
		w.end(s, Drain)
	}
	w.poller.close()
}
