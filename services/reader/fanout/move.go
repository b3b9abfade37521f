package fanout

import "sync/atomic"

// move is a wish that some streams of a topic end. The writers that have any share it.
type move struct {
	topic *Topic
	left  atomic.Int64
}

// Move ends up to n streams of a topic with reason Moved, those aside that are to stay. It does not wait for them.
func (e *Engine) Move(topic *Topic, n int) {
	m := &move{topic: topic}
	m.left.Store(int64(n))
	for _, w := range e.writers {
		w.move(m)
	}
}

// move tells a writer of a move.
func (w *writer) move(m *move) {
	w.mu.Lock()
	w.inbox.moves = append(w.inbox.moves, m)
	w.mu.Unlock()
	w.wakeUp()
}

// makeMoves lets the streams that are to move end.
func (w *writer) makeMoves() {
	for _, m := range pop(&w.todo.moves, turn) {
		p := w.parts[m.topic]
		if p == nil {
			continue
		}
		for _, s := range p.streams {
			if s.stay || s.closing || s.endAt > 0 && s.endAt <= w.now {
				continue
			}
			if m.left.Add(-1) < 0 {
				break
			}
			w.endAfter(s, Moved, 0, 0)
		}
	}
}
