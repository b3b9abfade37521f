package fanout

import (
	"errors"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// stream is one viewer's. All of it is its writer's alone.
type stream struct {
	topic *Topic
	// cursor is the newest frame of which something was written, in the epoch of the topic that it is of.
	cursor comment.ID
	epoch  int32
	// waiting is for the socket to become writable. closing says that the last event is in rest.
	waiting, closing, closed bool
	gap                      bool // the viewer begins with a gap
	chunked                  bool // its body is
	stay                     bool // it is not to be moved
	socket                   socket
	// rest goes before the frames after the cursor: what is for this viewer only, and what was not taken of a frame.
	rest  []byte
	wrote time.Duration // when the kernel last took something, by Engine.now
	// taken is the bytes that the viewer's side had taken when last looked at, modulo 2^32; since is when it was first seen to be
	// that, and look when to look next, 0 when all is taken.
	taken       uint32
	since, look time.Duration

	token uint64
	part  *part
	index int // in part.streams
	// endAt is when the stream is to end for reason; 0 for never. alarmAt is the earliest of its alarms.
	endAt, alarmAt time.Duration
	reason         Reason
	onEnd          func(Reason)
}

// encode is an event for s alone.
func (s *stream) encode(event []byte) []byte {
	if s.chunked {
		return chunk(event)
	}
	return event
}

// batchBytes is about how much is written at once. It is more than a viewer that keeps up ever has to get.
const batchBytes = 64 << 10

// batch is what a writer writes. Streams of one topic mostly have the same cursor: what was put together for one is kept
// for the next.
type batch struct {
	topic      *Topic
	chunked    bool
	epoch      int32
	from, head comment.ID
	frames     []Frame
	bytes      []byte // a stream's rest, and frames
	whole      bool   // there are no more frames up to head
	space      []byte
}

// visit writes all that there is for s, or as much as its socket takes.
func (w *writer) visit(s *stream) {
	if s.waiting && !w.flush(s) {
		return
	}
	for !s.closed {
		bytes := w.load(s)
		if len(bytes) == 0 {
			w.settle(s)
			return
		}
		n, err := s.socket.write(bytes)
		if n > 0 {
			w.writes.Add(1)
			w.advance(s, n)
		}
		switch {
		case errors.Is(err, errWouldBlock):
			w.wait(s)
			return
		case err != nil:
			w.end(s, Left)
			return
		case n == len(bytes) && w.batch.whole:
			w.settle(s)
			return
		}
	}
}

// flush reports whether the kernel has all that the socket of s has taken.
func (w *writer) flush(s *stream) bool {
	err := s.socket.flush()
	if err != nil && !errors.Is(err, errWouldBlock) {
		w.end(s, Left)
	}
	return err == nil
}

// wait leaves s alone until its socket is writable.
func (w *writer) wait(s *stream) {
	if s.waiting {
		return
	}
	s.waiting = true
	w.waiting.Add(1)
	w.scheduleInspection(s)
}

// settle notes that s has all that there is for it.
func (w *writer) settle(s *stream) {
	if s.waiting {
		s.waiting = false
		w.waiting.Add(-1)
	}
	if s.closing {
		w.end(s, s.reason)
	}
}

// load is what there is for s: its rest, and the frames after its cursor.
func (w *writer) load(s *stream) []byte {
	t, b := s.topic, &w.batch
	if s.closing {
		b.topic = nil
		b.collect(s.rest, nil, s.chunked)
		return b.bytes
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if s.epoch != t.epoch || t.floor.After(s.cursor) {
		w.moveAhead(s)
	}
	if len(s.rest) == 0 && b.topic == t && b.chunked == s.chunked && b.epoch == t.epoch && b.from == s.cursor && b.head == t.head {
		return b.bytes
	}
	b.topic, b.chunked, b.epoch, b.from, b.head = t, s.chunked, t.epoch, s.cursor, t.head
	if len(s.rest) > 0 {
		b.topic = nil // what is put together is for this stream only
	}
	b.collect(s.rest, t.after(s.cursor), s.chunked)
	return b.bytes
}

// collect puts together rest and frames, up to about batchBytes of them.
func (b *batch) collect(rest []byte, frames []Frame, chunked bool) {
	size, n := len(rest), 0
	for n < len(frames) && size < batchBytes {
		size += len(frames[n].chunk)
		n++
	}
	b.whole = n == len(frames)
	b.frames = append(b.frames[:0], frames[:n]...)
	switch {
	case n == 0:
		b.bytes = rest
	case n == 1 && len(rest) == 0:
		b.bytes = frames[0].bytes(chunked)
	default:
		b.space = append(b.space[:0], rest...)
		for i := range b.frames {
			b.space = append(b.space, b.frames[i].bytes(chunked)...)
		}
		b.bytes = b.space
	}
}

// advance moves s past the n bytes that were taken of its batch.
func (w *writer) advance(s *stream, n int) {
	s.wrote = w.now
	w.scheduleInspection(s)
	own := min(n, len(s.rest))
	if s.rest, n = s.rest[own:], n-own; len(s.rest) == 0 {
		s.rest = nil // it may be all that holds a long frame
	}
	comments, gaps := uint64(0), uint64(0)
	for i := 0; n > 0; i++ {
		frame := &w.batch.frames[i]
		s.cursor = frame.ID
		if frame.Gap {
			gaps++
		} else {
			comments++
		}
		bytes := frame.bytes(s.chunked)
		if n < len(bytes) {
			s.rest = bytes[n:]
		}
		n -= len(bytes)
	}
	w.count(comments, gaps)
}

// moveAhead moves s to the newest frame, or to where its topic began anew, and announces the gap.
func (w *writer) moveAhead(s *stream) {
	t := s.topic
	to := t.head
	if s.epoch != t.epoch && !t.floor.After(t.rewound) {
		to = t.rewound
	}
	s.cursor, s.epoch = to, t.epoch
	s.rest = slices.Concat(s.rest, s.encode(event.Gap(t.video, &to)))
	w.count(0, 1)
}
