package placement

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
type bounded struct {
	*ring
	epsilon float64
}

// reserve is the part of the room above the mean that large videos leave to the others.
const reserve = 0.25

func newBounded(readers []string, options Options) Strategy {
	return &bounded{makeRing(readers, options), options.Epsilon}
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
	mean := float64(loads.Total+1) / float64(b.readers)
	room := b.epsilon
	// A video is large when it could take a reader from the mean to the bound alone.
	if float64(loads.Audience+1) > b.epsilon*mean {
		room *= 1 - reserve
	}
	return (1 + room) * mean
}
