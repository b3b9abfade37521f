package fleet

import (
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
)

// conflicts are readers that have what must be one reader's alone.
type conflicts struct {
	// instance and address count the views in a row in which another process has our INSTANCE_ID, or our address.
	instance, address int
}

// persistent is how many views in a row make a conflict: the entry of a process that has crashed, and was replaced, is there
// for Silence.
const persistent = int(Silence/Interval) + 2

// note looks for conflicts in a view. previous is what the reader's entry was before it was written.
func (c *conflicts) note(f *Fleet, view *View, previous string, first bool) {
	own := view.Members[view.Own]
	before, err := parse(own.Instance, broker.Entry{Text: previous})
	switch {
	case first || err != nil || before.Process == own.Process:
		c.instance = max(0, c.instance-1)
	case c.instance < persistent:
		if c.instance++; c.instance == persistent {
			c.instance = 2 * persistent // and so it stays one for a while
			f.log.Warn("another reader has the same INSTANCE_ID: viewers are placed on one of the two, by chance; give each its own")
		}
	default:
		c.instance = 2 * persistent
	}
	other := ""
	for i, m := range view.Members {
		if i != view.Own && m.Address == own.Address && !m.Draining && m.At.After(view.Now.Add(-Silence)) {
			other = m.Instance
		}
	}
	if other == "" {
		c.address = 0
	} else if c.address++; c.address == persistent {
		f.log.Warn("another reader has the same ADVERTISE_URL: viewers that belong to one of the two come to the other",
			zap.String("address", own.Address), zap.String("other", other))
	}
}

// reach finds out whether viewers can reach this reader: whether any of those that others have sent here has come.
type reach struct {
	samples []sample
	until   time.Time // the reader counts as unreachable
}

// sample is how many viewers were sent, and have come, until a time.
type sample struct {
	at            time.Time
	sent, arrived uint64
}

const (
	// reachWindow is the time in which somebody must have come, and reachLag what viewers have to come after they were sent.
	reachWindow, reachLag = 10 * time.Second, 2 * time.Second
	// reachSent is how many must have been sent for that to tell anything.
	reachSent = 10
	// reachPause is how long nobody is sent to a reader that nobody has reached.
	reachPause = time.Minute
)

// unreachable reports whether viewers who are sent here do not come.
func (r *reach) unreachable(now time.Time) bool { return now.Before(r.until) }

func (r *reach) note(f *Fleet, view *View, now time.Time) {
	if r.unreachable(now) {
		r.samples = nil
		return
	}
	own := view.Members[view.Own]
	r.samples = append(r.samples, sample{now, view.SentHere, own.Arrived})
	for len(r.samples) > 1 && r.samples[1].at.Before(now.Add(-reachWindow-reachLag)) {
		r.samples = r.samples[1:]
	}
	first := r.samples[0]
	// The others say only with their next announcement whom they have sent, so that some of those who are said to be sent after
	// the first sample have come before it.
	before, sent := first.sent, first.sent
	for _, s := range r.samples {
		if s.at.Before(first.at.Add(reachLag)) {
			before = s.sent
		}
		if s.at.Before(now.Add(-reachLag)) {
			sent = s.sent
		}
	}
	if own.Arrived > first.arrived || sent < before+reachSent || now.Sub(first.at) < reachWindow {
		return
	}
	r.until, r.samples = now.Add(reachPause), nil
	f.log.Error("viewers who were sent to this reader do not come: they cannot reach it at its address (ADVERTISE_URL). "+
		"For a minute the other readers send nobody here",
		zap.String("address", own.Address), zap.Uint64("sent", sent-before))
}
