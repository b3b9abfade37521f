package placement

import (
	"cmp"
	"iter"
	"slices"
)

// Weights say how much of the small videos each reader takes, so that celebrities find room on few readers. A celebrity fills
// the first of its candidates one after the other, and needs the fewest of them where they have little else. So the small
// videos make way there, each as a whole: a reader with a weight of 0.3 takes 0.3 of the videos that have it as a candidate,
// and the others go on to their next.
//
// Which ones it takes is decided by a hash of the video and the reader, as CRUSH decides it for a device that is reweighted
// (Weil et al., "CRUSH: controlled, scalable, decentralized placement of replicated data", SC 2006). So whoever knows the same
// audiences decides alike, and a weight that changes by a hundredth moves a hundredth of the reader's small videos.
//
// The nil Weights are 1 for all.
type Weights struct {
	readers []weighted
	// celebrity is the audience from which a video is a celebrity in part. With twice as many it is one entirely.
	celebrity float64
}

type weighted struct {
	seeded
	weight float64
}

// WeightsFor returns the weights for a fleet with so many viewers, under the audiences in the whole fleet; those that are not
// large may be left out. It returns nil for any strategy but bounded, which alone knows large videos, and where there are none.
func WeightsFor(strategy Strategy, audiences iter.Seq2[Video, int], total int) *Weights {
	b, ok := strategy.(*bounded)
	if !ok || b.readers == 0 {
		return nil
	}
	w := &Weights{celebrity: b.epsilon * b.mean(total)}
	crowds, all := b.crowds(w.celebrities(audiences), total)
	if all == 0 {
		return nil
	}
	// The small videos rise on the celebrities' viewers like water over uneven ground, to a level of even loads.
	level := waterLevel(crowds, max(1, float64(total)-all))
	for reader, crowd := range crowds {
		w.readers = append(w.readers, weighted{seeded{Reader(reader), b.seeds[reader]}, max(0, 1-crowd/level)})
	}
	return w
}

// crowd is the viewers of a video that small ones make way for.
type crowd struct {
	video   Video
	viewers float64
}

// celebrities are the crowds of an audience, the largest first.
func (w *Weights) celebrities(audiences iter.Seq2[Video, int]) []crowd {
	var all []crowd
	for video, viewers := range audiences {
		if part := w.part(viewers); part > 0 {
			all = append(all, crowd{video, part * float64(viewers)})
		}
	}
	slices.SortFunc(all, func(a, b crowd) int { return cmp.Or(cmp.Compare(b.viewers, a.viewers), cmp.Compare(a.video, b.video)) })
	return all
}

// part is how far a video with that audience is a celebrity, 0 to 1. It grows with the audience, so that no viewer more or less
// decides at once about many videos.
func (w *Weights) part(audience int) float64 { return max(0, min(1, float64(audience)/w.celebrity-1)) }

// crowds is by reader how many viewers of celebrities it has when each celebrity fills its candidates in their order, and how
// many they are together.
func (b *bounded) crowds(celebrities []crowd, total int) (crowds []float64, all float64) {
	crowds = make([]float64, b.readers)
	room := b.room(total, true)
	for _, celebrity := range celebrities {
		left := celebrity.viewers
		for reader := range b.Candidates(celebrity.video).All() {
			taken := max(0, min(left, room-crowds[reader]))
			crowds[reader] += taken
			all += taken
			if left -= taken; left <= 0 {
				break
			}
		}
	}
	return crowds, all
}

// waterLevel is how high so much water stands over a ground of these heights.
func waterLevel(heights []float64, water float64) float64 {
	sorted := slices.Sorted(slices.Values(heights))
	level, below := 0.0, 0.0
	for i, height := range sorted {
		if i > 0 && level <= height {
			break
		}
		below += height
		level = (water + below) / float64(i+1)
	}
	return level
}

// Order returns the candidates of a video with that audience in the order in which its viewers try them: first the readers that
// take it by their weight, then the others.
func (w *Weights) Order(c Candidates, audience int) Candidates {
	if w == nil || c.First == Nowhere {
		return c
	}
	part := w.part(audience)
	inOrder := func(yield func(Reader) bool) {
		for _, taken := range []bool{true, false} {
			for reader := range c.All() {
				if w.takes(reader, c.Video, part) == taken && !yield(reader) {
					return
				}
			}
		}
	}
	first := Nowhere
	for first = range inOrder {
		break
	}
	return Candidates{Video: c.Video, First: first, Others: func(yield func(Reader) bool) {
		for reader := range inOrder {
			if reader != first && !yield(reader) {
				return
			}
		}
	}}
}

// takes reports whether a reader takes a video that is a celebrity in that part.
func (w *Weights) takes(reader Reader, video Video, part float64) bool {
	of := w.readers[reader]
	passes := (1 - of.weight) * (1 - part)
	return passes == 0 || float64(of.seeded.weight(video)>>11)/(1<<53) >= passes
}

// Leaning returns weights by which a reader keeps a little more, and the others that are beside celebrities take a little less.
// A video that is about to make way, or to come back, stays where it is by them.
func (w *Weights) Leaning(to Reader, by float64) *Weights {
	if w == nil {
		return nil
	}
	leaning := &Weights{slices.Clone(w.readers), w.celebrity}
	for i := range leaning.readers {
		switch reader := &leaning.readers[i]; {
		case Reader(i) == to:
			reader.weight = min(1, reader.weight+by)
		case reader.weight < 1:
			reader.weight = max(0, reader.weight-by)
		}
	}
	return leaning
}
