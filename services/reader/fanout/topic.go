package fanout

import (
	"math/rand/v2"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livecomments/livecomments/services/shared/comment"
)

// Frame is one event, encoded as it goes to every viewer.
type Frame struct {
	ID comment.ID
	// Gap marks an event that announces lost comments instead of bringing one.
	Gap bool

	chunk []byte
	came  time.Time
}

// NewFrame makes a frame of an event.
func NewFrame(id comment.ID, event []byte) Frame { return Frame{ID: id, chunk: chunk(event)} }

// NewGap makes a frame of an event that announces lost comments.
func NewGap(id comment.ID, event []byte) Frame { return Frame{ID: id, Gap: true, chunk: chunk(event)} }

// bytes is what is written of the frame.
func (f *Frame) bytes(chunked bool) []byte {
	if chunked {
		return f.chunk
	}
	return unchunk(f.chunk)
}

// Limits bound what a Topic keeps for viewers that are behind.
type Limits struct {
	// Frames is the most that are kept.
	Frames int
	// Age is how long a frame is kept at the most, so that quiet videos hold no memory.
	Age time.Duration
}

// Topic is one video on one reader: a ring of its recent frames, and the streams that follow it. It is safe for concurrent
// use.
type Topic struct {
	video  string
	limits Limits
	// home is the writer that the first streams go to, joined how many have come.
	home   uint64
	joined atomic.Uint64

	mu     sync.Mutex
	frames []Frame // ascending by ID
	// All that was published with an ID above floor, up to head, is in frames.
	floor, head comment.ID
	// beginning says that the history holds nothing older than frames.
	beginning bool
	// room is how many frames may be kept until roomy, because more than the limit was filled in.
	room  int
	roomy time.Time
	// epoch counts the rewinds; rewound is where the last of them has put the head.
	epoch   int32
	rewound comment.ID
	parts   []*part
}

// NewTopic makes a topic that holds frames, ascending by ID and with nothing left out after floor. beginning says that
// the history holds nothing older.
func NewTopic(video string, limits Limits, floor comment.ID, frames []Frame, beginning bool) *Topic {
	t := &Topic{video: video, limits: limits, home: rand.Uint64(), floor: floor, head: floor, beginning: beginning}
	t.publish(frames, len(frames) > limits.Frames)
	return t
}

// Publish appends frames, ascending by ID, and has them written. Frames that are not later than the head are known and
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
			frame.came = now
			t.frames, t.head = append(t.frames, frame), frame.ID
		}
	}
	if len(t.frames) == before {
		return
	}
	if fill {
		t.makeRoom(now)
	}
	t.trim(now)
	t.wakeWriters()
}

// makeRoom lets what is kept now stay for the age limit, whatever else comes meanwhile.
func (t *Topic) makeRoom(now time.Time) {
	t.room, t.roomy = len(t.frames)+t.limits.Frames, now.Add(t.limits.Age)
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
	for drop < len(t.frames) && now.Sub(t.frames[drop].came) > t.limits.Age {
		drop++
	}
	if drop == 0 {
		return
	}
	t.floor, t.beginning = t.frames[drop-1].ID, false
	clear(t.frames[:drop])
	if t.frames = t.frames[drop:]; len(t.frames) == 0 {
		t.frames = nil
	}
}

// Holds reports whether a frame of that ID is kept.
func (t *Topic) Holds(id comment.ID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, found := t.find(id)
	return found
}

// find is where the frame with that ID is, or would be. The caller holds t.mu.
func (t *Topic) find(id comment.ID) (at int, found bool) {
	return slices.BinarySearchFunc(t.frames, id, func(frame Frame, id comment.ID) int { return frame.ID.Compare(id) })
}

// Rewind makes head the newest frame although later ones were published: the history that those belonged to is lost, and
// the ids of the next comments may be smaller. Every viewer is told of a gap.
func (t *Topic) Rewind(head comment.ID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch++
	t.frames, t.floor, t.head, t.rewound, t.beginning = nil, head, head, head, false
	t.wakeWriters()
}

// Head is the ID of the newest frame.
func (t *Topic) Head() comment.ID {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head
}

// Cursor is where a stream begins in its topic.
type Cursor struct {
	// At is the ID up to which the viewer has everything, or was told that it is lost.
	At comment.ID
	// Replay says that there are frames for the viewer already; Gap, that some before them are lost.
	Replay, Gap bool

	topic *Topic
	epoch int32
}

func (t *Topic) cursor(at comment.ID) Cursor {
	return Cursor{At: at, Replay: t.head.After(at), topic: t, epoch: t.epoch}
}

// Newest is the cursor of a viewer that has seen everything up to the head.
func (t *Topic) Newest() Cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.cursor(t.head)
}

// After is the cursor of a viewer that has seen everything up to id. It is not ok where only the history can tell what came
// next. An id that the topic would hold if there had been such a comment is from a history that was lost or has expired:
// the viewer is told of a gap.
func (t *Topic) After(id comment.ID) (cursor Cursor, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, found := t.find(id); found || id == t.floor || id == t.head {
		return t.cursor(id), true
	}
	if id.After(t.head) || t.floor.After(id) && !t.beginning {
		return Cursor{}, false
	}
	return t.gap(id), true
}

// gap is the cursor of a viewer that is told of a gap after id. The caller holds t.mu.
func (t *Topic) gap(id comment.ID) Cursor {
	switch {
	case t.floor.After(id):
		id = t.floor
	case id.After(t.head) && t.epoch > 0 && !t.floor.After(t.rewound):
		// Its history was lost, and what has come since is not what it has seen.
		id = t.rewound
	case id.After(t.head):
		id = t.head
	}
	cursor := t.cursor(id)
	cursor.Gap = true
	return cursor
}

// Last is the cursor of a viewer that wants the last n comments first. It is not ok where the topic holds fewer and the
// history may hold more.
func (t *Topic) Last(n int) (cursor Cursor, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	from := len(t.frames)
	for ; from > 0 && n > 0; from-- {
		if !t.frames[from-1].Gap {
			n--
		}
	}
	at := t.floor
	if from > 0 {
		at = t.frames[from-1].ID
	}
	return t.cursor(at), n == 0 || t.beginning
}

// History is what Redis held of a video at one moment: all its comments after Floor.
type History struct {
	Floor  comment.ID
	Frames []Frame // ascending by ID
	// Newest is the ID of the newest comment, be it in Frames or before.
	Newest comment.ID
	// Beginning says that there was nothing older than Frames.
	Beginning bool
}

// Epoch changes when the topic is rewound: what was read from the history before may be what is lost since.
func (t *Topic) Epoch() int32 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.epoch
}

// Extend puts older frames from the history, read in the given epoch, before those that the topic holds, so that viewers
// who come for them share them. Later ones the topic has already, or gets by itself.
func (t *Topic) Extend(epoch int32, history History) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if epoch != t.epoch || t.floor.After(history.Newest) {
		return // between them something is missing
	}
	t.beginning = t.beginning || history.Beginning
	if !t.floor.After(history.Floor) {
		return
	}
	older := slices.Clone(history.Frames[:sort.Search(len(history.Frames), func(i int) bool { return history.Frames[i].ID.After(t.floor) })])
	now := time.Now()
	for i := range older {
		older[i].came = now
	}
	t.frames, t.floor = append(older, t.frames...), history.Floor
	t.makeRoom(now)
}

// Resume is the cursor of a viewer that has seen everything up to id by what the history says, with which the topic has been
// extended. complete says that the history, as it was in the given epoch, has lost nothing after id. A viewer that comes from a reader which is ahead of
// this one gets nothing twice.
func (t *Topic) Resume(epoch int32, id comment.ID, complete bool) Cursor {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !complete || epoch != t.epoch || t.floor.After(id) {
		return t.gap(id)
	}
	return t.cursor(id)
}

// after is the frames that are later than id.
func (t *Topic) after(id comment.ID) []Frame {
	if !t.head.After(id) {
		return nil
	}
	return t.frames[sort.Search(len(t.frames), func(i int) bool { return t.frames[i].ID.After(id) }):]
}

// wakeWriters has every writer look at its part of the topic.
func (t *Topic) wakeWriters() {
	for _, p := range t.parts {
		p.writer.dirty(p)
	}
}

// addPart adds a part, which is roused from now on; dismiss takes it out.
func (t *Topic) addPart(p *part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts = append(t.parts, p)
}

func (t *Topic) removePart(p *part) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.parts = slices.DeleteFunc(t.parts, func(other *part) bool { return other == p })
}
