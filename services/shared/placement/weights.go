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
	seeds  []uint64
	crowds []float64 // by reader, the viewers of celebrities that it is to have
	// shares are the parts of the crowds by celebrity, for a celebrity does not make way for itself.
	shares map[share]float64
	// level is the load of a reader when all are even.
	level float64
	// celebrity is the audience from which a video is a celebrity in part. With twice as many it is one entirely.
	celebrity float64
	// lean is what is added to the weight of leanTo, and taken from those of the others that are beside celebrities.
	lean   float64
	leanTo Reader
}

type share struct {
	video  Video
	reader Reader
}

// WeightsFor returns the weights for a fleet with so many viewers, under the audiences in the whole fleet; those that are not
// large may be left out. It returns nil for any strategy but bounded, which alone knows large videos, and where there are none.
func WeightsFor(strategy Strategy, audiences iter.Seq2[Video, int], total int) *Weights {
	b, ok := strategy.(*bounded)
	if !ok || b.readers == 0 {
		return nil
	}
	w := &Weights{seeds: b.seeds, crowds: make([]float64, b.readers), shares: map[share]float64{}, celebrity: b.epsilon * b.mean(total), leanTo: Nowhere}
	all := 0.0
	for _, one := range w.celebrities(audiences) {
		all += w.add(one, b.Candidates(one.video), b.room(total, true))
	}
	if all == 0 {
		return nil
	}
	// The small videos rise on the celebrities' viewers like water over uneven ground, to a level of even loads.
	w.level = waterLevel(w.crowds, max(1, float64(total)-all))
	return w
}

// crowd is the viewers of a video that small ones make way for.
type crowd struct {
	video   Video
	viewers float64
}

// celebrities are the crowds of the audiences. They are not in the order of their sizes: then one viewer more or less would swap
// two that are nearly equal, and with them what the readers are to have.
func (w *Weights) celebrities(audiences iter.Seq2[Video, int]) []crowd {
	var all []crowd
	for video, viewers := range audiences {
		if part := w.part(viewers); part > 0 {
			all = append(all, crowd{video, part * float64(viewers)})
		}
	}
	slices.SortFunc(all, func(a, b crowd) int { return cmp.Compare(a.video, b.video) })
	return all
}

// part is how far a video with that audience is a celebrity, 0 to 1. It grows with the audience, so that no viewer more or less
// decides at once about many videos.
func (w *Weights) part(audience int) float64 { return max(0, min(1, float64(audience)/w.celebrity-1)) }

// add has a celebrity fill its candidates, each up to room, in their order, and returns how many viewers found one.
func (w *Weights) add(celebrity crowd, candidates Candidates, room float64) (all float64) {
	for reader := range candidates.All() {
		taken := max(0, min(celebrity.viewers-all, room-w.crowds[reader]))
		w.crowds[reader] += taken
		w.shares[share{celebrity.video, reader}] = taken
		if all += taken; all >= celebrity.viewers {
			break
		}
	}
	return all
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
	crowd := w.crowds[reader]
	if part > 0 {
		crowd -= w.shares[share{video, reader}]
	}
	if crowd <= 0 {
		return true
	}
	weight := 1 - crowd/w.level
	if reader == w.leanTo {
		weight += w.lean
	} else {
		weight -= w.lean
	}
	passes := (1 - max(0, min(1, weight))) * (1 - part)
	return float64(seeded{reader, w.seeds[reader]}.weight(video)>>11)/(1<<53) >= passes
}

// Leaning returns weights by which a reader keeps a little more, and the others that are beside celebrities take a little less.
// A video that is about to make way, or to come back, stays where it is by them.
func (w *Weights) Leaning(to Reader, by float64) *Weights {
	if w == nil {
		return nil
	}
	leaning := *w
	leaning.leanTo, leaning.lean = to, by
	return &leaning
}
