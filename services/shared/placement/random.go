package placement

import (
	"math"
	"math/rand/v2"
)

// Random sends every viewer to any reader with the same probability: what a plain load balancer does.
const Random Name = "random"

// random draws one number for each viewer.
type random struct {
	readers int
	draw    func(n int) int
}

func newRandom(readers []string, options Options) Strategy {
	if options.Random == nil {
		return &random{len(readers), rand.IntN}
	}
	return &random{len(readers), options.Random.IntN}
}

func (r *random) Candidates(video Video) Candidates { return asListed(video, r.readers) }

func (r *random) Pick(Candidates, Loads) Reader {
	if r.readers == 0 {
		return Nowhere
	}
	return Reader(r.draw(r.readers))
}

// Sticky is true: there is no better reader for a viewer than the one that it has.
func (r *random) Sticky() bool { return true }

// RandomShare is the probability that a reader has at least one of a video's viewers, where each of them is at any of so many
// readers with the same probability: 1-(1-1/R)^n.
func RandomShare(readers int, viewers float64) float64 {
	return 1 - math.Pow(1-1/float64(readers), viewers)
}
