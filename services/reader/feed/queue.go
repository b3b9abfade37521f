package feed

import "container/heap"

// behind is a topic whose history is to be read, because of one of Redis' confirmations.
type behind struct {
	topic        *topic
	confirmation int
	first        bool // it has not been read yet, and viewers wait for their streams
	viewers      int
	arrival      int
}

// queue is the topics that are behind: first those for which viewers wait, then those that most viewers watch, and as they
// came where these are equal.
type queue struct {
	waiting  []behind
	arrivals int
}

// Len, Less, Swap, Push and Pop are for package heap.
func (q *queue) Len() int      { return len(q.waiting) }
func (q *queue) Swap(i, j int) { q.waiting[i], q.waiting[j] = q.waiting[j], q.waiting[i] }
func (q *queue) Push(x any)    { q.waiting = append(q.waiting, x.(behind)) } //nolint:forcetypeassert // heap.Push gives what it was given

func (q *queue) Less(i, j int) bool {
	a, b := q.waiting[i], q.waiting[j]
	switch {
	case a.first != b.first:
		return a.first
	case a.viewers != b.viewers:
		return a.viewers > b.viewers
	}
	return a.arrival < b.arrival
}

func (q *queue) Pop() any {
	last := len(q.waiting) - 1
	popped := q.waiting[last]
	q.waiting[last] = behind{}
	q.waiting = q.waiting[:last]
	return popped
}

// add puts t into the queue.
func (q *queue) add(t *topic, confirmation int) {
	q.arrivals++
	heap.Push(q, behind{t, confirmation, t.fanout == nil, t.viewers, q.arrivals})
}

// next takes the one whose turn it is out of the queue.
func (q *queue) next() (behind, bool) {
	if len(q.waiting) == 0 {
		return behind{}, false
	}
	return heap.Pop(q).(behind), true //nolint:forcetypeassert // nothing else is in it
}
