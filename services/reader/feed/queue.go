package feed

import (
	"container/heap"
	"sync"
)

// behind is a topic whose history is to be read, and the generation in which that is so.
type behind struct {
	topic      *topic
	generation int
	first      bool // it has not been read yet, and viewers wait for their streams
	viewers    int64
	arrival    int
}

// queue is the topics that are behind: first those for which viewers wait, then those that most viewers watch, and as they
// came where these are equal. It is safe for concurrent use.
type queue struct {
	mu       sync.Mutex // taken after a topic's
	waiting  waiting
	arrivals int
}

// waiting is a heap.
type waiting []behind

func (w waiting) Len() int      { return len(w) }
func (w waiting) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *waiting) Push(x any)   { *w = append(*w, x.(behind)) } //nolint:forcetypeassert // heap.Push gives what it was given

func (w waiting) Less(i, j int) bool {
	a, b := w[i], w[j]
	switch {
	case a.first != b.first:
		return a.first
	case a.viewers != b.viewers:
		return a.viewers > b.viewers
	}
	return a.arrival < b.arrival
}

func (w *waiting) Pop() any {
	last := len(*w) - 1
	popped := (*w)[last]
	(*w)[last] = behind{}
	*w = (*w)[:last]
	return popped
}

// add puts t into the queue. The caller holds t.mu.
func (q *queue) add(t *topic) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.arrivals++
	heap.Push(&q.waiting, behind{t, t.generation, t.ring == nil, t.viewers.Load(), q.arrivals})
}

// next takes the one whose turn it is out of the queue.
func (q *queue) next() (behind, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return behind{}, false
	}
	return heap.Pop(&q.waiting).(behind), true //nolint:forcetypeassert // nothing else is in it
}
