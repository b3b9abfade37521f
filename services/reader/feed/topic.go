package feed

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/livecomments/livecomments/services/reader/event"
	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// state is how a topic stands to Redis:
//
//	             confirmed                  merged
//	subscribing ───────────► catching up ───────────► live
//	                           ▲  ▲   │ a hole that      │
//	                           │  └───┘ is not closed    │
//	                           └─────────────────────────┘
//	                             confirmed, a hole is seen
type state int

const (
	// subscribing waits for Redis to confirm the subscription. Nothing is known of the video yet.
	subscribing state = iota
	// catchingUp waits for the history to be read. What arrives is held back.
	catchingUp
	// live passes on what arrives.
	live
)

// A history that is read from a replica may be a moment behind what was received. It is read again up to holeRetries times,
// the first time after holePause, then after twice that, and so on; then the viewers are told of a gap.
const (
	holeRetries = 6
	holePause   = 50 * time.Millisecond
)

// ring is a fanout.Topic, as the state machine uses it.
type ring interface {
	Publish(frames ...fanout.Frame)
	Fill(frames ...fanout.Frame)
	Rewind(head comment.ID)
	Head() comment.ID
	Holds(id comment.ID) bool
}

// topic is one video. Its messages form a chain, as each names its predecessor; a live topic passes on nothing but the next.
type topic struct {
	video      string
	maxPending int           // messages that are held back at the most
	linger     *time.Timer   // guarded by Feed.mu
	viewers    atomic.Int64  // changed under Feed.mu
	catching   *atomic.Int64 // counts the topics that are catching up

	ready  chan struct{} // closed when fanout is set
	output *fanout.Topic
	replay chan struct{} // a semaphore of one: held by the viewer that reads the history for those who wait

	mu    sync.Mutex // taken after Feed.mu, and before those of the fanout.Topic and the queue
	state state
	gone  bool // it was given up
	ring  ring
	// head is the newest message that was read or received, and first the one with which its history began, zero where that is
	// not known.
	head, first comment.ID
	// generation changes when a history that is being read no longer answers the question.
	generation int
	pending    []broker.Message
	recovering bool        // the history does not go on from head, and all of it is to be read
	retries    int         // reads that have found the history behind what was received
	received   bool        // something has come since the last check
	suspected  bool        // a check has found that the history is ahead
	filled     int         // comments that came from the history
	wanted     *comment.ID // the oldest position that a viewer waits for
}

func newTopic(video string, maxPending int, catching *atomic.Int64) *topic {
	return &topic{video: video, maxPending: maxPending, catching: catching, ready: make(chan struct{}), replay: make(chan struct{}, 1)}
}

// setState changes the state.
func (t *topic) setState(s state) {
	if s == catchingUp && t.state != catchingUp {
		t.catching.Add(1)
	} else if s != catchingUp && t.state == catchingUp {
		t.catching.Add(-1)
	}
	t.state = s
}

// startCatchUp has the history read anew; until then what arrives is held back.
func (t *topic) startCatchUp() {
	t.setState(catchingUp)
	t.generation++
	t.pending, t.recovering, t.suspected, t.retries = nil, false, false, 0
}

// giveUp notes that the topic is given up.
func (t *topic) giveUp() {
	t.setState(subscribing)
	t.gone = true
	t.generation++
}

// receive takes a message from the subscription. It reports whether the message has shown a hole, so that the topic is
// catching up.
func (t *topic) receive(m broker.Message) (hole bool) {
	t.received = true
	switch t.state {
	case subscribing: // the history will have it
	case catchingUp:
		t.holdBack(m)
	case live:
		switch {
		case m.Previous == t.head:
			t.advance(m)
			if m.Kind == broker.Comment {
				t.ring.Publish(frame(m))
			}
		case t.known(m): // it was in a history that was read while it was on its way
		default:
			t.startCatchUp()
			t.holdBack(m)
			return true
		}
	}
	return false
}

// advance makes m the head.
func (t *topic) advance(m broker.Message) {
	t.head = m.ID
	if !m.Previous.IsZero() {
		return
	}
	t.first = m.ID
	if !m.ID.After(t.ring.Head()) {
		// The history had expired, and Redis' clock has been set back since: the ring would take m for one that is known.
		t.ring.Rewind(m.Previous)
	}
}

func (t *topic) known(m broker.Message) bool {
	return m.ID == t.head || t.ring.Holds(m.ID) || m.Kind != broker.Comment && t.head.After(m.ID)
}

func (t *topic) holdBack(m broker.Message) {
	if len(t.pending) == t.maxPending {
		t.pending = t.pending[1:] // the history has it, or will
	}
	t.pending = append(t.pending, m)
}

// query asks for the part of the history that the topic lacks.
func (t *topic) query() broker.Query {
	switch {
	case t.ring == nil:
		return broker.Query{VideoID: t.video, Last: warm}
	case t.recovering:
		return broker.Query{VideoID: t.video} // all that it holds
	}
	return broker.Query{VideoID: t.video, After: t.head}
}

// outcome is what merging a page has led to.
type outcome int

const (
	// caughtUp topics are live.
	caughtUp outcome = iota
	// readAll says that the whole history is to be read.
	readAll
	// readLater says that the history lacks what was received, and is to be read again after a pause.
	readLater
)

// merge joins a page of the history, which answers query, with what has arrived since.
func (t *topic) merge(page broker.Page, limits fanout.Limits) outcome {
	switch {
	case t.ring == nil:
		t.begin(page, limits)
	case t.recovering:
		t.resync(page)
	case page.Complete || page.Expired:
		t.fill(encode(page.Messages))
	case t.late(page) && t.retries < holeRetries:
		t.retries++
		return readLater
	default:
		t.recovering = true
		return readAll
	}
	t.recovering, t.head = false, page.Head
	if !page.First.IsZero() || page.Head.IsZero() {
		t.first = page.First // else it has been trimmed
	}
	if !t.mergePending() {
		t.retries++
		return readLater
	}
	t.pending, t.retries = nil, 0
	t.setState(live)
	return caughtUp
}

// late reports whether a page can be of the history that the topic follows, and behind it: that of a replica, which holds
// nothing at all while it loads, or what is left after a failover.
func (t *topic) late(page broker.Page) bool {
	return t.head.After(page.Head) && (page.First == t.first || page.First.IsZero())
}

// begin makes the topic one that viewers can join. What has arrived and is older than the page is of no use.
func (t *topic) begin(page broker.Page, limits fanout.Limits) {
	t.output = fanout.NewTopic(t.video, limits, floor(page), encode(page.Messages), page.Beginning)
	t.ring, t.pending = t.output, after(t.pending, floor(page))
	close(t.ready)
}

// fill gives the viewers what they have missed.
func (t *topic) fill(frames []fanout.Frame) {
	t.filled += len(frames)
	t.ring.Fill(frames...)
}

// floor is the position after which a page holds everything.
func floor(page broker.Page) comment.ID {
	switch {
	case len(page.Messages) == 0:
		return page.Head
	case page.Messages[0].Kind == "":
		return page.Messages[0].ID.Previous()
	}
	return page.Messages[0].Previous
}

// resync goes on with a history in which what the topic has last is not, or from which what followed it has been trimmed.
// page is all that it holds. What the topic has not passed on is given to the viewers after a gap.
func (t *topic) resync(page broker.Page) {
	next := t.unknown(page) // the first that was not passed on
	last := page.Head       // the newest that was passed on, or that is lost
	switch {
	case next > 0:
		last = page.Messages[next-1].ID
	case len(page.Messages) > 0:
		last = floor(page)
	}
	missed := encode(page.Messages[next:])
	switch {
	case last == t.head: // nothing is lost after all
	case next < len(page.Messages) && last.After(t.head):
		t.ring.Fill(t.gap(last))
	default:
		t.ring.Rewind(last)
	}
	t.fill(missed)
}

// unknown is the index of the first message of a page that the topic has not passed on.
func (t *topic) unknown(page broker.Page) int {
	if !page.First.IsZero() && page.First != t.first {
		return 0 // the history has begun anew, and may give out ids again
	}
	for i, m := range slices.Backward(page.Messages) {
		if t.known(m) {
			return i + 1
		}
	}
	// The topic has let go of what would tell. By their ids, none comes twice.
	return len(page.Messages) - len(after(page.Messages, t.head))
}

func after(messages []broker.Message, id comment.ID) []broker.Message {
	from := slices.IndexFunc(messages, func(m broker.Message) bool { return m.ID.After(id) })
	if from < 0 {
		return nil
	}
	return messages[from:]
}

// mergePending passes on what has arrived, as far as it goes on from the history. It reports whether that was all of it. After
// holeRetries, what does not go on from the history is passed on after a gap.
func (t *topic) mergePending() bool {
	for i, m := range t.pending {
		switch {
		case m.Previous == t.head:
			t.advance(m)
			t.ring.Fill(encode(t.pending[i : i+1])...)
		case t.known(m):
		case t.retries < holeRetries:
			t.pending = t.pending[i:]
			return false
		case m.ID.After(t.head):
			if m.Previous.After(t.head) {
				t.ring.Fill(t.gap(m.Previous))
			} else {
				t.ring.Rewind(t.head)
			}
			t.advance(m)
			t.ring.Fill(encode(t.pending[i : i+1])...)
		default: // it comes before what the viewers have, and the history does not know it
		}
	}
	return true
}

// pause is the time before the history is read again.
func (t *topic) pause() time.Duration { return holePause << (t.retries - 1) }

func (t *topic) gap(at comment.ID) fanout.Frame { return fanout.NewGap(at, event.Gap(t.video, nil)) }

// encode makes frames of the comments among messages. Other kinds are passed over.
func encode(messages []broker.Message) []fanout.Frame {
	frames := make([]fanout.Frame, 0, len(messages))
	for _, m := range messages {
		if m.Kind == broker.Comment {
			frames = append(frames, frame(m))
		}
	}
	return frames
}

func frame(m broker.Message) fanout.Frame {
	return fanout.NewFrame(m.ID, event.Comment(m.ID, m.Data))
}
