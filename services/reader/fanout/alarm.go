package fanout

import (
	"container/heap"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/reader/event"
)

// alarms is a heap of the times at which something is to be done about a stream. Writing puts a heartbeat off, which is
// found out only when its alarm rings: a stream that is written to all the time costs one alarm in a heartbeat's time.
type alarms []alarm

type alarm struct {
	at     time.Duration
	stream *stream
}

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at < a[j].at }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) } //nolint:forcetypeassert // heap.Push gives what it was given
func (a *alarms) Pop() any {
	last := len(*a) - 1
	popped := (*a)[last]
	(*a)[last] = alarm{}
	*a = (*a)[:last]
	return popped
}

// deadline is when something is to be done about s next.
func (w *writer) deadline(s *stream) time.Duration {
	at := s.wrote + w.engine.options.Heartbeat
	if s.look > 0 && (s.waiting || s.look < at) {
		at = s.look
	}
	if s.endAt > 0 && !s.closing {
		at = min(at, s.endAt)
	}
	return at
}

// schedule sees to it that an alarm rings at the deadline of s, or before.
func (w *writer) schedule(s *stream) {
	if at := w.deadline(s); !s.closed && (s.alarmAt == 0 || at < s.alarmAt) {
		s.alarmAt = at
		heap.Push(&w.alarms, alarm{at, s})
	}
}

// untilNextAlarm is the time until the next alarm.
func (w *writer) untilNextAlarm() time.Duration {
	if len(w.alarms) == 0 {
		return time.Hour
	}
	return max(0, w.alarms[0].at-w.engine.now())
}

// fireAlarms does what has come due.
func (w *writer) fireAlarms() {
	for range turn {
		if len(w.alarms) == 0 || w.alarms[0].at > w.now {
			return
		}
		alarm := heap.Pop(&w.alarms).(alarm) //nolint:forcetypeassert // nothing else is in it
		if s := alarm.stream; !s.closed && alarm.at == s.alarmAt {
			s.alarmAt = 0
			w.fire(s)
			w.schedule(s)
		}
	}
}

// fire does what is due for s.
func (w *writer) fire(s *stream) {
	switch {
	case s.look > 0 && w.now >= s.look:
		w.inspect(s)
	case s.endAt > 0 && w.now >= s.endAt && !s.closing:
		w.askToReconnect(s)
	case !s.waiting && w.now >= s.wrote+w.engine.options.Heartbeat:
		s.rest = s.encode(event.Heartbeat)
		w.visit(s)
	}
}

// scheduleInspection has s looked at, if it is not going to be.
func (w *writer) scheduleInspection(s *stream) {
	if s.look == 0 {
		s.since, s.look = 0, w.now+w.engine.options.WriteTimeout/2
		w.schedule(s)
	}
}

// inspect looks whether the viewer of s takes what there is for it. What the kernel takes does not tell: its buffers can hold
// minutes of a quiet video, and for a host that is gone without a word as well.
func (w *writer) inspect(s *stream) {
	if s.waiting {
		// The kernel calls a socket writable when a good part of its buffer is free; some may be all the same.
		if w.visit(s); s.closed {
			return
		}
	}
	held, taken := s.socket.held()
	s.look = 0
	switch {
	case held == 0 && !s.waiting:
		return
	case s.since == 0 || taken != s.taken:
		s.since, s.taken = w.now, taken
	case w.now >= s.since+w.engine.options.WriteTimeout:
		w.cut(s)
		return
	}
	s.look = w.now + w.engine.options.WriteTimeout/2
}

// askToReconnect has s end with an event that asks the viewer to come back. What it has not been given by then it gets when it
// resumes.
func (w *writer) askToReconnect(s *stream) {
	if !s.waiting {
		w.visit(s)
	}
	if s.closed {
		return
	}
	s.closing = true
	retry := w.engine.options.Retry()
	if s.reason == Moved {
		retry /= 10 // moves are spread over time as it is
	}
	s.rest = slices.Concat(s.rest, s.encode(event.Reconnect(string(s.reason), retry)))
	if s.chunked {
		s.rest = append(s.rest, lastChunk...)
	}
	if !s.waiting {
		w.visit(s)
	}
}
