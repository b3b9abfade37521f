package router

import (
	"maps"
	"math"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/shared/fleet"
	"github.com/livecomments/livecomments/services/shared/placement"
)

const (
	// least is the viewers that a reader may have in any case: where there are few, a bound on them would only split videos.
	least = 16
	// closed is the load of a reader that takes nobody. It is more than any bound.
	closed = math.MaxInt32
	// lateAfter is the age from which an announcement is late.
	lateAfter = fleet.Interval + fleet.Interval/2
)

// plan is where viewers belong, by one view of the fleet.
type plan struct {
	view     *fleet.View
	strategy placement.Strategy
	bound    float64 // LOAD_BOUND
	// members are the readers that take viewers, by placement.Reader; own is this one among them, or Nowhere.
	members []fleet.Member
	own     placement.Reader
	since   time.Time // when the members became these
	// sent are the viewers that were sent to each, and counted the times after which its announcement does not have them.
	sent    []*sends
	counted []time.Time
	total   int // viewers, of all readers whose viewers these members take
	floor   int // of the total that is reckoned with
	// growth is about how many viewers have come to the fleet in the time that announcements are old.
	growth int
	// large is the large audiences that all readers have announced, and others those of other readers.
	large, others map[placement.Video]int
	// weights are those of the readers for small videos, beside the large ones.
	weights *placement.Weights
	// announced is what others know of our viewers, and tolerance by how much that may be wrong.
	announced, tolerance int
}

func newPlan(cfg Config, view *fleet.View, last *plan) *plan {
	p := &plan{view: view, bound: cfg.LoadBound, own: placement.Nowhere, since: view.Read, large: map[placement.Video]int{}, others: map[placement.Video]int{}}
	self := view.Members[view.Own]
	p.announced = self.Viewers
	for i, m := range view.Members {
		if m.Policy != self.Policy {
			continue
		}
		p.total += m.Viewers
		for _, large := range m.Large {
			p.large[large.Video] += large.Viewers
			if i != view.Own {
				p.others[large.Video] += large.Viewers
			}
		}
		if m.Draining || m.Unreachable {
			continue
		}
		if i == view.Own {
			p.own = placement.Reader(len(p.members))
		}
		p.members = append(p.members, m)
	}
	p.sent, p.counted = make([]*sends, len(p.members)), make([]time.Time, len(p.members))
	for i, m := range p.members {
		p.sent[i] = sentBefore(last, m.Instance)
		p.counted[i] = view.Read.Add(m.At.Sub(view.Now) - travel)
	}
	p.floor = int(math.Ceil(least * float64(len(p.members)) / (1 + cfg.LoadBound)))
	p.tolerance = max(4, p.mean()/50)
	if last != nil {
		p.growth = max(0, p.total-last.total, last.growth/2)
	}
	if last != nil && slices.EqualFunc(p.members, last.members, func(a, b fleet.Member) bool { return a.Instance == b.Instance }) {
		p.strategy, p.since = last.strategy, last.since
	} else {
		p.strategy = newStrategy(cfg, p.members)
	}
	p.weights = placement.WeightsFor(p.strategy, maps.All(p.large), max(p.total, p.floor))
	return p
}

func newStrategy(cfg Config, members []fleet.Member) placement.Strategy {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Instance
	}
	strategy, err := placement.New(placement.Name(cfg.Routing), placement.Options{VirtualNodes: virtualNodes, Epsilon: cfg.LoadBound}, names)
	if err != nil {
		panic(err) // only for options out of bounds, and the members of a view have different names
	}
	return strategy
}

// sentBefore is what counts the viewers that were sent to a reader; a new one where it is new.
func sentBefore(last *plan, instance string) *sends {
	if last != nil {
		for i, m := range last.members {
			if m.Instance == instance {
				return last.sent[i]
			}
		}
	}
	return &sends{}
}

// mean is the viewers of a reader, on average.
func (p *plan) mean() int { return p.total / max(1, len(p.members)) }

// loads are the viewers of all readers as far as they are known: here exactly, elsewhere what was announced and who was sent
// there since. Readers that are full are closed.
func (p *plan) loads(own int) placement.Loads {
	loads := placement.Loads{Viewers: make([]int, len(p.members)), Total: p.total - p.announced + own}
	for i, m := range p.members {
		viewers := m.Viewers
		if placement.Reader(i) == p.own {
			viewers = own
		} else if sent := p.sent[i].since(p.counted[i]); sent > 0 {
			viewers += sent
			loads.Total += sent
		}
		if viewers >= m.Capacity {
			viewers = closed
		}
		loads.Viewers[i] = viewers
	}
	loads.Total = max(loads.Total, p.floor)
	return loads
}

// closeFull closes a reader that would have more than it takes.
func (p *plan) closeFull(loads placement.Loads, reader placement.Reader) {
	if loads.Viewers[reader] >= p.members[reader].Capacity {
		loads.Viewers[reader] = closed
	}
}

// candidates are the readers in the order in which viewers of a video try them, by weights: those of the plan, or leaning ones.
func (p *plan) candidates(video placement.Video, weights *placement.Weights) placement.Candidates {
	return weights.Order(p.strategy.Candidates(video), p.large[video])
}

// audience is about how many viewers a video has in the whole fleet.
func (p *plan) audience(video placement.Video, here int) int { return p.others[video] + here }

// isLarge reports whether a video with that audience could fill a reader alone, about as bounded reckons it.
func (p *plan) isLarge(audience int) bool { return float64(audience) > p.bound*float64(p.mean()) }

// pick is the reader that a viewer belongs to, or where the strategy does not mind that it is closed, the first candidate that
// is not. It is Nowhere when all are closed.
func (p *plan) pick(candidates placement.Candidates, loads placement.Loads) placement.Reader {
	target := p.strategy.Pick(candidates, loads)
	if target == placement.Nowhere || loads.Viewers[target] < closed {
		return target
	}
	for reader := range candidates.All() {
		if loads.Viewers[reader] < closed {
			return reader
		}
	}
	return placement.Nowhere
}

// late reports whether a reader had not announced itself for longer than it should when the list was read.
func (p *plan) late(reader placement.Reader) bool {
	return p.view.Now.Sub(p.members[reader].At) > lateAfter
}
