// Package fanout gives the comments of one video to all its viewers on this reader.
//
// A Topic keeps the recent frames once, in the order of their ids; a viewer is a cursor into them:
//
//	Publish ──►  [ 7  8  9 10 11 ]  frames, shared by all
//	               ▲        ▲  ▲
//	               │        │  └── a viewer that has everything
//	               │        └───── a viewer that is one behind
//	               └────────────── floor: what came before is no longer here
//
// Nothing is queued for a viewer, so one that is slow costs no memory and delays nobody. One that falls below the floor
// is moved to the newest frame and told that there is a gap. Resuming where an earlier stream ended is the same: a cursor
// that starts further back.
package fanout

import (
	"slices"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Frame is one event, encoded as it goes to every viewer.
type Frame struct {
	ID    comment.ID
	Bytes []byte
	// Gap marks an event that announces lost comments instead of bringing one.
	Gap bool
}

// Limits bound what a Topic keeps for viewers that are behind.
type Limits struct {
	// Frames is the most that are kept.
	Frames int
	// Age is how long a frame is kept at the most, so that quiet videos hold no memory.
	Age time.Duration
}

// Topic is one video on one reader. It is safe for concurrent use.
type Topic struct {
	limits Limits

	mu     sync.Mutex
	frames []Frame     // ascending by ID
	came   []time.Time // when each of frames was published
	// All that was published with an ID above floor, up to head, is in frames.
	floor, head comment.ID
	viewers     map[*Viewer]struct{}
	// room is how many frames may be kept until roomy, because a Fill brought more than the limit.
	room  int
	roomy time.Time
}

// NewTopic makes a topic that holds frames, ascending by ID and with nothing left out after floor.
func NewTopic(limits Limits, floor comment.ID, frames []Frame) *Topic {
	t := &Topic{limits: limits, floor: floor, head: floor, viewers: map[*Viewer]struct{}{}}
	t.Publish(frames...)
	return t
}

// Publish appends frames, ascending by ID, and wakes the viewers. Frames that are not later than the head are known and
// passed over.
func (t *Topic) Publish(frames ...Frame) { t.publish(frames, false) }

// Fill is Publish for what was missed: none of it is dropped for being more than the limit before the viewers had their
// chance at it.
func (t *Topic) Fill(frames ...Frame) { t.publish(frames, true) }

func (t *Topic) publish(frames []Frame, fill bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now, before := time.Now(), len(t.frames)
	for _, frame := range frames {
		if frame.ID.After(t.head) {
			t.frames, t.came, t.head = append(t.frames, frame), append(t.came, now), frame.ID
		}
	}
	if len(t.frames) == before {
		return
	}
	if fill {
		t.room, t.roomy = len(t.frames), now.Add(t.limits.Age)
	}
	t.trim(now)
	for viewer := range t.viewers {
		viewer.rouse()
	}
}

// Trim lets frames go that have passed the age limit.
func (t *Topic) Trim() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.trim(time.Now())
}

func (t *Topic) trim(now time.Time) {
	if now.After(t.roomy) {
		t.room = 0
	}
	drop := max(0, len(t.frames)-max(t.limits.Frames, t.room))
	for drop < len(t.frames) && now.Sub(t.came[drop]) > t.limits.Age {
		drop++
	}
	if drop > 0 {
		t.floor = t.frames[drop-1].ID
		t.frames, t.came = slices.Delete(t.frames, 0, drop), slices.Delete(t.came, 0, drop)
	}
	if len(t.frames) == 0 {
		t.frames, t.came = nil, nil
	}
}

// Rewind makes head the newest frame although later ones were published: the history that those belonged to is lost, and
// the ids of the next comments may be smaller. Every viewer is told of a gap.
func (t *Topic) Rewind(head comment.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.frames, t.came, t.floor, t.head = nil, nil, head, head
	for viewer := range t.viewers {
		viewer.cursor, viewer.lost = head, true
		viewer.rouse()
	}
}

// Head is the ID of the newest frame.
func (t *Topic) Head() comment.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head
}

// Subscribe adds a viewer that has seen everything up to the head.
func (t *Topic) Subscribe() *Viewer {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.subscribe(t.head)
}

// SubscribeAfter adds a viewer that has seen everything up to after. It returns nil where the topic cannot know what came
// next: after is none of the positions that it keeps. One between the floor and the first frame is not either: it comes
// from a history that was lost or has expired.
func (t *Topic) SubscribeAfter(after comment.ID) *Viewer {
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := len(t.frames) > 0 && !t.frames[0].ID.After(after) && !after.After(t.head)
	if !kept && after != t.floor {
		return nil
	}
	return t.subscribe(after)
}

func (t *Topic) subscribe(cursor comment.ID) *Viewer {
	viewer := &Viewer{topic: t, cursor: cursor, wake: make(chan struct{}, 1)}
	t.viewers[viewer] = struct{}{}
	return viewer
}

// Viewer is one stream's place in a Topic. Next is for one goroutine.
type Viewer struct {
	topic  *Topic
	wake   chan struct{}
	cursor comment.ID // guarded by topic.mu, as is lost
	lost   bool
}

// Wake receives when there may be something Next.
func (v *Viewer) Wake() <-chan struct{} { return v.wake }

func (v *Viewer) rouse() {
	select {
	case v.wake <- struct{}{}:
	default: // it is roused already and will see this too
	}
}

// Next appends to frames what came after what it returned last, and moves on. gap says that there were others before them
// which are no longer here.
func (v *Viewer) Next(frames []Frame) (next []Frame, gap bool) {
	t := v.topic
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.floor.After(v.cursor) {
		v.cursor, v.lost = t.head, true
	}
	gap, v.lost = v.lost, false
	from, found := slices.BinarySearchFunc(t.frames, v.cursor, func(frame Frame, id comment.ID) int { return frame.ID.Compare(id) })
	if found {
		from++
	}
	if from < len(t.frames) {
		frames = append(frames, t.frames[from:]...)
		v.cursor = t.head
	}
	return frames, gap
}

// Cursor is the ID up to which the viewer has been given everything, or was told of the gap.
func (v *Viewer) Cursor() comment.ID {
	v.topic.mu.Lock()
	defer v.topic.mu.Unlock()
	return v.cursor
}

// MoveTo declares that the viewer has seen everything up to after, by other means; unless what the topic held was lost
// meanwhile, when that is worth nothing.
func (v *Viewer) MoveTo(after comment.ID) {
	v.topic.mu.Lock()
	defer v.topic.mu.Unlock()
	if !v.lost && after.After(v.cursor) {
		v.cursor = after
	}
}

// Close takes the viewer out of its topic.
func (v *Viewer) Close() {
	v.topic.mu.Lock()
	defer v.topic.mu.Unlock()
	delete(v.topic.viewers, v)
}
