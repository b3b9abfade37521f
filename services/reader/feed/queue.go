package feed

import (
	"container/heap"
	"sync"
)

// job is a topic whose history is to be read, and the generation in which that is so.
type job struct {
	topic      *topic
	generation int
	first      bool // it has not been read yet, and viewers wait for their streams
	viewers    int64
	arrival    int
}

// queue is the jobs of topics that are catching up: first those for which viewers wait, then those that most viewers watch,
// and as they came where these are equal. It is safe for concurrent use.
type queue struct {
	mu       sync.Mutex // taken after a topic's
	jobs     jobHeap
	arrivals int
}

// jobHeap is a heap.
type jobHeap []job

func (w jobHeap) Len() int      { return len(w) }
func (w jobHeap) Swap(i, j int) { w[i], w[j] = w[j], w[i] }
func (w *jobHeap) Push(x any)   { *w = append(*w, x.(job)) } //nolint:forcetypeassert // heap.Push gives what it was given

func (w jobHeap) Less(i, j int) bool {
	a, b := w[i], w[j]
	switch {
	case a.first != b.first:
		return a.first
	case a.viewers != b.viewers:
		return a.viewers > b.viewers
	}
	return a.arrival < b.arrival
}

func (w *jobHeap) Pop() any {
	last := len(*w) - 1
	popped := (*w)[last]
	(*w)[last] = job{}
	*w = (*w)[:last]
	return popped
}

// add puts t into the queue. The caller holds t.mu.
func (q *queue) add(t *topic) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.arrivals++
	heap.Push(&q.jobs, job{t, t.generation, t.ring == nil, t.viewers.Load(), q.arrivals})
}

// next takes the one whose turn it is out of the queue.
func (q *queue) next() (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) == 0 {
		return job{}, false
	}
	return heap.Pop(&q.jobs).(job), true //nolint:forcetypeassert // nothing else is in it
}
