// Package fanout writes the comments of every video to all its viewers on this reader. It is the reader's hot path.
//
//	  feed                 Topic: a ring of frames                     a few writers
//	                                                         ┌──────────────────────────────────────┐
//	Publish(frame) ──►  │ 41 │ 42 │ 43 │ 44 │ 45 │ ──dirty──►│ rotation of parts; of each, in turn, │
//	                      ▲              ▲         ▲         │ some streams:                        │
//	                      │              │         │         │   frames after cursor ──► write(2) ──┼──► viewers
//	                  replaying     one behind  has all      └──────────────────────────────────────┘
//	                      └──── cursors of streams ┘            ▲ writable, left          │ would block
//	                                                            └──────── epoll ◄─────────┘
//
// A comment is encoded once, into a Frame that all its viewers share. A stream has no queue and no goroutine: it is a
// cursor into its topic's ring, and belongs to one writer. A part is those streams of a topic that one writer has. A
// publish marks the topic's parts as dirty and goes on; each writer takes its dirty parts in turn, some streams at a time,
// so that a video with many viewers does not hold up the others. A stream is given everything after its cursor in one
// write: when comments come faster than a writer gets round, every write carries several, and load itself makes the
// batches, while on a quiet video a comment is written as soon as it comes. Replay is the same with a cursor that starts
// further back.
//
// Writes never wait. What a socket does not take is kept as a place in a shared frame, and goes on when the kernel says that
// the socket is writable. A stream whose cursor falls out of the ring is told of the gap and moved to the newest frame; one
// whose viewer takes nothing for the write timeout is cut, also where the kernel could hold more for it. epoll reports a viewer
// that has left, so no write is needed to notice. On other systems than Linux, and for connections that are not sockets,
// goroutines take the place of epoll.
package fanout

import (
	"context"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Options says how long things may take.
type Options struct {
	// Heartbeat is how long a stream may be quiet before it is sent a comment line.
	Heartbeat time.Duration
	// WriteTimeout is how long a viewer may take nothing, while there is something to take, before it is cut; it is seen
	// after up to half as long again. What is in the kernel's buffers counts on Linux; elsewhere those must be full first.
	WriteTimeout time.Duration
	// Lifetime ends a stream after 80 to 100 % of it; 0 for no limit.
	Lifetime time.Duration
	// DrainPeriod is the time over which Drain spreads the ends of the streams.
	DrainPeriod time.Duration
	// Retry is asked how long a viewer whose stream ends should wait before it connects again.
	Retry func() time.Duration
}

// Reason says why a stream ended.
type Reason string

// The reasons, as the metrics name them.
const (
	Left     Reason = "left"
	Lost     Reason = "lost" // its host has not answered for the write timeout
	Slow     Reason = "slow" // it has taken nothing for the write timeout
	Lifetime Reason = "lifetime"
	Moved    Reason = "moved" // it belongs to another reader
	Drain    Reason = "drain"
)

// Reasons are all of them.
var Reasons = []Reason{Left, Lost, Slow, Lifetime, Moved, Drain}

// share is how many streams of a topic go to one writer before the next has its share: the few viewers of a small video
// cost one writer's attention a comment, the many of a large one have that of all.
const share = 64

// Engine holds a reader's streams. It is safe for concurrent use.
type Engine struct {
	options Options
	began   time.Time
	writers []*writer
	open    atomic.Int64
}

// Stats is what an Engine has done since its start, and how its streams are now.
type Stats struct {
	// Comments and Gaps were written to viewers; Writes is the system calls that wrote anything.
	Comments, Gaps, Writes uint64
	// Open is the streams, Waiting those of them whose sockets take no more for now.
	Open, Waiting int64
}

// New makes an engine with a writer for each core but one, which is left to Redis and to handshakes. It holds the kernel's
// resources until Run has returned.
func New(options Options) (*Engine, error) {
	e := &Engine{options: options, began: time.Now()}
	for range max(1, runtime.GOMAXPROCS(0)-1) {
		w, err := newWriter(e)
		if err != nil {
			e.close()
			return nil, err
		}
		e.writers = append(e.writers, w)
	}
	return e, nil
}

// Run writes until ctx ends; then it closes all streams that are left.
func (e *Engine) Run(ctx context.Context) {
	var tasks sync.WaitGroup
	for _, w := range e.writers {
		tasks.Go(func() { w.poller.run(w.signal) })
		tasks.Go(func() { w.run(ctx) })
	}
	tasks.Wait()
}

func (e *Engine) close() {
	for _, w := range e.writers {
		w.poller.close()
	}
}

// Opening is what a stream begins with.
type Opening struct {
	// Head is that of the answer, Events are what comes before the comments.
	Head   []byte
	Events [][]byte
	// Chunked says that the body is, as Head must say. Else it ends with the connection.
	Chunked bool
	// Stay keeps the stream from being moved.
	Stay bool
}

// Serve makes connection a stream that starts with opening and goes on from cursor. The connection is the engine's from now
// on. When the stream has ended, ended is called, by a writer, which must not be kept waiting.
func (e *Engine) Serve(connection net.Conn, cursor Cursor, opening Opening, ended func(Reason)) {
	w := e.writerOf(cursor.topic)
	e.serve(w, newSocket(connection, w), cursor, opening, ended)
}

func (e *Engine) serve(w *writer, socket socket, cursor Cursor, opening Opening, ended func(Reason)) {
	e.open.Add(1)
	s := &stream{
		topic: cursor.topic, cursor: cursor.At, epoch: cursor.epoch, gap: cursor.Gap, chunked: opening.Chunked, stay: opening.Stay,
		socket: socket, onEnd: ended,
	}
	s.rest = opening.Head
	for _, event := range opening.Events {
		s.rest = append(s.rest, s.encode(event)...)
	}
	w.join(s)
}

// writerOf is the writer for the next stream of a topic.
func (e *Engine) writerOf(t *Topic) *writer {
	return e.writers[(t.home+t.joined.Add(1)/share)%uint64(len(e.writers))]
}

// Open returns how many streams there are.
func (e *Engine) Open() int { return int(e.open.Load()) }

// Drain begins to end all streams, spread over the drain period.
func (e *Engine) Drain() {
	for _, w := range e.writers {
		w.beginDrain()
	}
}

// Await returns how many streams are left: when none is, or when ctx ends.
func (e *Engine) Await(ctx context.Context) int {
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for e.open.Load() > 0 && ctx.Err() == nil {
		select {
		case <-poll.C:
		case <-ctx.Done():
		}
	}
	return int(e.open.Load())
}

// Stats sums up the writers.
func (e *Engine) Stats() Stats {
	sum := Stats{Open: e.open.Load()}
	for _, w := range e.writers {
		sum.Comments += w.comments.Load()
		sum.Gaps += w.gaps.Load()
		sum.Writes += w.writes.Load()
		sum.Waiting += w.waiting.Load()
	}
	return sum
}

// now is the time since the engine began, by the monotonic clock: eight bytes where a time.Time is twenty-four.
func (e *Engine) now() time.Duration { return time.Since(e.began) }
