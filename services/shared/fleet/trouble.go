package fleet

import (
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
)

// conflicts are readers that have what must be one reader's alone: for how long, without a break, another process has had our
// INSTANCE_ID, and our address.
type conflicts struct{ instance, address lasting }

// lasting is something that was seen in each view since a time.
type lasting struct {
	since, last time.Time
	said        bool
}

// persistent is how long another must have what is ours to count: the entry of a process that has crashed, and was replaced, is
// there for Silence. forgiven is how long it may then not be seen.
const persistent, forgiven = Silence + 2*Interval, 3 * Interval

// note notes whether it was seen in a view, and reports whether it is the first view that makes it count.
func (l *lasting) note(seen bool, now time.Time) (first bool) {
	switch {
	case seen && l.since.IsZero():
		l.since, l.last = now, now
	case seen:
		l.last = now
	case now.Sub(l.last) > forgiven:
		*l = lasting{}
	}
	first = l.counts() && !l.said
	l.said = l.said || first
	return first
}

func (l *lasting) counts() bool { return l.last.Sub(l.since) >= persistent }

// note looks for conflicts in a view. previous is what the reader's entry was before it was written.
func (c *conflicts) note(f *Fleet, view *View, previous string, first bool) {
	own := view.Members[view.Own]
	before, err := parse(own.Instance, broker.Entry{Text: previous})
	if c.instance.note(!first && err == nil && before.Process != own.Process, view.Read) {
		f.log.Warn("another reader has the same INSTANCE_ID: viewers are placed on one of the two, by chance; give each its own")
	}
	other := ""
	for i, m := range view.Members {
		if i != view.Own && m.Address == own.Address && !m.Draining {
			other = m.Instance
		}
	}
	if c.address.note(other != "", view.Read) {
		f.log.Warn("another reader has the same ADVERTISE_URL: viewers that belong to one of the two come to the other",
			zap.String("address", own.Address), zap.String("other", other))
	}
}

// reach finds out whether viewers can reach this reader: whether any of those that others have sent here has come. Its zero value
// has no doubt.
type reach struct {
	arrived uint64    // when last looked at
	at      time.Time // of the last arrival
	sent    uint64    // until then, as far as the others have said so
	doubt   time.Time // since when too many have been sent and not come
	until   time.Time // the reader counts as unreachable
	pause   time.Duration
}

const (
	// reachLag is what the others have to say whom they have sent.
	reachLag = 2 * Interval
	// reachSent is how many must have been sent, and reachPatience how long somebody of them may take to come.
	reachSent, reachPatience = 10, 10 * time.Second
	// firstPause is how long nobody is sent to a reader that nobody has reached. Each time that nobody comes again it is twice as
	// long, up to longestPause.
	firstPause, longestPause = time.Minute, time.Hour
)

// unreachable reports whether viewers who are sent here do not come.
func (r *reach) unreachable(now time.Time) bool { return now.Before(r.until) }

func (r *reach) note(f *Fleet, view *View, now time.Time) {
	own := view.Members[view.Own]
	if own.Arrived != r.arrived || r.at.IsZero() {
		r.arrived, r.at = own.Arrived, now
		r.until, r.pause = time.Time{}, firstPause
	}
	if now.Sub(r.at) <= reachLag || r.unreachable(now) {
		// Those who are said to be sent now may have come before.
		r.sent, r.doubt = view.SentHere, time.Time{}
		return
	}
	r.sent = min(r.sent, view.SentHere) // Redis may have lost its books
	switch {
	case view.SentHere < r.sent+reachSent:
		r.doubt = time.Time{}
	case r.doubt.IsZero():
		r.doubt = now
	case now.Sub(r.doubt) >= reachPatience:
		f.log.Error("viewers who were sent to this reader do not come: they cannot reach it at its address (ADVERTISE_URL), are refused there, or follow no redirect. "+
			"For a while the other readers send nobody here",
			zap.String("address", own.Address), zap.Uint64("sent", view.SentHere-r.sent), zap.Duration("while", r.pause))
		r.until, r.pause = now.Add(r.pause), min(2*r.pause, longestPause)
	}
}
