package placement

import "github.com/cespare/xxhash/v2"

// Bounded is consistent hashing with bounded loads (Mirrokni, Thorup and Zadimoghaddam, SODA 2018, arXiv:1608.01350): no reader
// takes more than (1+ε) × the mean of viewers. A viewer that finds a reader full goes on to the next candidate. So a celebrity
// spreads over as many readers as it needs, and the other videos stay whole.
const Bounded Name = "bounded"

// bounded has the candidates of ring. When a reader is added or lost, about 1/R of the viewers move, and those that the
// changed bound displaces.
//
// The paper leaves open which viewers a full reader passes on. Passing on whoever comes last would be the simplest. But then
// each of the thousand small videos beside a celebrity has a few viewers elsewhere, and all their comments are copied. Here a
// reader is full for large videos a little earlier than for the others, which leaves the last of the room to the small ones.
//
// And small videos make way for celebrities, by Weights, so that a celebrity needs few readers.
type bounded struct {
	*ring
	epsilon float64
	seeds   []uint64 // by reader, the hash of its name
}

// reserve is the part of the room above the mean that large videos leave to the others.
const reserve = 0.25

func newBounded(readers []string, options Options) Strategy {
	b := &bounded{ring: makeRing(readers, options), epsilon: options.Epsilon}
	for _, name := range readers {
		b.seeds = append(b.seeds, xxhash.Sum64String(name))
	}
	return b
}

// Pick returns the first candidate with room. There is one, because all readers' room together is more than all viewers; loads
// that contradict that, with a Total below the sum of Viewers, get the first candidate.
func (b *bounded) Pick(candidates Candidates, loads Loads) Reader {
	if candidates.First == Nowhere {
		return Nowhere
	}
	limit := b.limit(loads)
	if float64(loads.Viewers[candidates.First]) < limit {
		return candidates.First
	}
	for reader := range candidates.Others {
		if float64(loads.Viewers[reader]) < limit {
			return reader
		}
	}
	return candidates.First
}

// limit is the number of viewers from which a reader is full for one more of the video. With that one it may be above the
// bound by less than one viewer.
func (b *bounded) limit(loads Loads) float64 {
	return b.room(loads.Total+1, b.isLarge(loads.Audience+1, loads.Total+1))
}

// room is how many of so many viewers a reader takes, when they are of a large video, or of others.
func (b *bounded) room(total int, large bool) float64 {
	room := b.epsilon
	if large {
		room *= 1 - reserve
	}
	return (1 + room) * b.mean(total)
}

// isLarge reports whether a video could take a reader from the mean to the bound alone.
func (b *bounded) isLarge(audience, total int) bool {
	return float64(audience) > b.epsilon*b.mean(total)
}

func (b *bounded) mean(total int) float64 { return float64(total) / float64(b.readers) }
