package router

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/fleet"
	"github.com/livecomments/livecomments/services/shared/placement"
)

const (
	// step is the time between two turns of the mover.
	step = 100 * time.Millisecond
	// calm is how long the members must have been the same before streams are moved: by then all readers know them.
	calm = 2 * fleet.Interval
	// onTheWay is how long a stream that was moved may be in no announcement: its viewer waits, connects, and is announced.
	onTheWay = 5 * fleet.Interval / 2
	// slack is the part of the mean by which a load must be beyond a bound before a stream is moved for it. Without it streams
	// would go to and fro as the mean breathes.
	slack = 0.03
	// lean is by how much the weight of a reader must change before small videos are moved for it, because audiences breathe.
	lean = 0.05
	// mostLarge is how many audiences are announced.
	mostLarge = 8
)

// audience is the viewers that a video has here.
type audience struct {
	video   placement.Video
	viewers int // those that stay aside
	here    int
	topic   *fanout.Topic
}

// astray is some streams of a topic that belong to another reader.
type astray struct {
	topic   *fanout.Topic
	streams int
	to      placement.Reader
}

// moved is streams that were ended to go to another reader.
type moved struct {
	at      time.Time
	to      string
	streams int
}

// mover ends the streams that belong elsewhere, at the rate that it may.
type mover struct {
	*Router
	plan   *plan
	astray []astray
	budget float64
	last   []moved // within onTheWay
}

// move moves streams until ctx ends.
func (r *Router) move(ctx context.Context) {
	m := &mover{Router: r}
	ticker := time.NewTicker(step)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.changed:
			m.look(time.Now())
		case <-ticker.C:
			m.turn(time.Now())
		}
	}
}

// look finds the streams that belong elsewhere by the newest plan.
func (m *mover) look(now time.Time) {
	m.plan = m.Router.plan.Load()
	m.last = slices.DeleteFunc(m.last, func(one moved) bool { return now.Sub(one.at) > onTheWay })
	audiences := m.audiences()
	m.large.Store(m.plan.largest(audiences, m.cfg.LoadBound))
	m.astray = m.plan.astray(audiences, m.streams.Count(), m.underWay())
	streams := 0
	for _, a := range m.astray {
		streams += a.streams
	}
	m.misplaced.Store(int64(streams))
}

// audiences are all videos that have viewers here, the small ones first.
func (m *mover) audiences() []audience {
	var all []audience
	m.streams.Audiences(func(video string, viewers int, topic *fanout.Topic) {
		all = append(all, audience{placement.VideoOf(video), viewers - m.keptOf(video), viewers, topic})
	})
	slices.SortFunc(all, func(a, b audience) int { return cmp.Or(cmp.Compare(a.here, b.here), cmp.Compare(a.video, b.video)) })
	return all
}

// underWay is by reader how many streams are on their way to it and in no announcement. Ours are known. Those of the others
// are about in the proportion of what they and we have to move.
func (m *mover) underWay() []int {
	own, all := max(1, m.Misplaced()), 0
	for _, member := range m.plan.members {
		all += member.Misplaced
	}
	factor := max(1, float64(all)/float64(own))
	under := make([]int, len(m.plan.members))
	for _, one := range m.last {
		for i, member := range m.plan.members {
			if member.Instance == one.to {
				under[i] += int(float64(one.streams) * factor)
			}
		}
	}
	return under
}

// largest is the audiences that others should know of, so that they know large videos: those that are a good part of what makes
// a video large.
func (p *plan) largest(ascending []audience, epsilon float64) *[]fleet.Audience {
	large := []fleet.Audience{}
	for _, a := range slices.Backward(ascending) {
		if len(large) == mostLarge || float64(a.here) < max(8, epsilon*float64(p.mean())/4) {
			break
		}
		large = append(large, fleet.Audience{Video: a.video, Viewers: a.here})
	}
	return &large
}

// astray are the streams of the audiences that belong to other readers, in the order in which they are to go. First come the
// videos that are at home elsewhere, the small ones first, because they need the fewest streams moved for a copy less. If this
// reader has too many then, it keeps the small ones of its own, and the large ones spread. There are none while this reader is
// not in the plan, because it drains, or because nobody reaches it anew.
func (p *plan) astray(ascending []audience, own int, underWay []int) []astray {
	if p.own == placement.Nowhere {
		return nil
	}
	loads := p.loads(own)
	spare := max(1, int(slack*float64(p.mean())))
	for i := range loads.Viewers {
		if placement.Reader(i) == p.own {
			loads.Viewers[i] = own - spare // also where it is full: that alone is no reason to send its streams away
		} else {
			loads.Viewers[i] += spare + underWay[i]
			p.closeFull(loads, placement.Reader(i))
		}
	}
	waiting := p.waiting()
	var all []astray
	for a, candidates := range p.inTurn(ascending) {
		if candidates.First == p.own && p.isLarge(a.here) {
			// They make room for streams of small videos that wait to come home, and which would otherwise push them out a few at a time.
			loads.Viewers[p.own] += waiting
			waiting = 0
		}
		// Of a large audience some are looked at together.
		each := 1 + a.viewers/100
		for left := a.viewers; left > 0; left -= each {
			each = min(each, left)
			loads.Viewers[p.own] -= each
			loads.Total -= each
			loads.Audience = p.audience(a.video, a.here) - each
			target := p.pick(candidates, loads)
			loads.Total += each
			if !p.movable(target) {
				loads.Viewers[p.own] += each
				break
			}
			loads.Viewers[target] += each
			p.closeFull(loads, target)
			if last := len(all) - 1; last >= 0 && all[last].topic == a.topic && all[last].to == target {
				all[last].streams += each
			} else {
				all = append(all, astray{a.topic, each, target})
			}
		}
	}
	return all
}

// waiting is about how many streams of other readers are to come here: half of what they have to move, so that readers which all
// reckon with them do not make far too much room.
func (p *plan) waiting() (streams int) {
	for i, m := range p.members {
		if placement.Reader(i) != p.own {
			streams += m.Misplaced
		}
	}
	return streams / 2
}

// inTurn yields the audiences in the order in which their streams are to go, with their candidates.
func (p *plan) inTurn(ascending []audience) iter.Seq2[audience, placement.Candidates] {
	weights := p.weights.Leaning(p.own, lean)
	return func(yield func(audience, placement.Candidates) bool) {
		type atHome struct {
			audience
			placement.Candidates
		}
		var own []atHome
		for _, a := range ascending {
			if candidates := p.candidates(a.video, weights); candidates.First == p.own {
				own = append(own, atHome{a, candidates})
			} else if !yield(a, candidates) {
				return
			}
		}
		for _, a := range slices.Backward(own) {
			if !yield(a.audience, a.Candidates) {
				return
			}
		}
	}
}

// movable reports whether streams can be moved to a reader: another one, of which nothing says that it is not there.
func (p *plan) movable(target placement.Reader) bool {
	return target != placement.Nowhere && target != p.own && !p.late(target) &&
		p.members[target].Address != p.members[p.own].Address
}

// turn ends as many of the streams astray as it is time for.
func (m *mover) turn(now time.Time) {
	if m.plan == nil {
		return
	}
	perSecond := m.cfg.MoveRate * float64(m.streams.Count())
	m.budget = min(m.budget+perSecond*step.Seconds(), max(1, perSecond/4))
	if !m.plan.view.Steady || now.Sub(m.plan.since) < calm || now.Sub(m.plan.view.Read) > 2*fleet.Interval {
		return // who belongs where is not certain
	}
	for m.budget >= 1 && len(m.astray) > 0 {
		first := &m.astray[0]
		n := min(first.streams, int(m.budget))
		m.streams.Move(first.topic, n)
		m.budget -= float64(n)
		m.last = append(m.last, moved{now, m.plan.members[first.to].Instance, n})
		if first.streams -= n; first.streams == 0 {
			m.astray = m.astray[1:]
		}
	}
}
