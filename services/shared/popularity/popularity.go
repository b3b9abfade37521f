// Package popularity divides viewers among videos as real audiences do.
package popularity

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Distribution is the name of a distribution of viewers over videos.
type Distribution string

const (
	// Uniform gives all videos the same number of viewers, within one.
	Uniform Distribution = "uniform"
	// ThreeTier has few stars and a long tail. Apart from one viewer for each video, 1 % of the videos have 50 % of the viewers,
	// 9 % have 30 %, and 90 % have 20 %.
	ThreeTier Distribution = "three-tier"
	// Zipf makes a video's audience inversely proportional to a power of its rank (Zipf's law). The exponent is fitted so that the
	// first video has CelebrityShare of all viewers: 0.91 for 90,000 videos. Where the videos are so few that an even part
	// exceeds CelebrityShare, it is 1.
	Zipf Distribution = "zipf"
	// Celebrity gives the first video 30 % of all viewers, and the others the same number, within one.
	Celebrity Distribution = "celebrity"
)

// celebrityPart is the part of all viewers that watch the first video of Celebrity.
const celebrityPart = 0.3

// CelebrityShare is the part of all viewers that watch the most popular video of Zipf.
const CelebrityShare = 0.05

// Distributions lists the distributions in the order in which they are compared.
var Distributions = []Distribution{Uniform, ThreeTier, Zipf, Celebrity}

// Audiences returns the number of viewers of each video. Each is at least 1, and their sum is viewers. It fails for fewer
// viewers than videos, for no videos, and for an unknown distribution.
func Audiences(distribution Distribution, videos, viewers int) ([]int, error) {
	if videos < 1 {
		return nil, fmt.Errorf("videos must be at least 1, not %d", videos)
	}
	if viewers < videos {
		return nil, fmt.Errorf("%d videos need at least as many viewers, not %d", videos, viewers)
	}
	weights, err := weights(distribution, videos, viewers)
	if err != nil {
		return nil, err
	}
	return apportion(weights, viewers), nil
}

func weights(distribution Distribution, videos, viewers int) ([]float64, error) {
	weights := make([]float64, videos)
	switch distribution {
	case Uniform:
		for i := range weights {
			weights[i] = 1
		}
	case Zipf:
		exponent := Exponent(videos, viewers)
		for i := range weights {
			weights[i] = math.Pow(float64(i+1), -exponent)
		}
	case ThreeTier:
		first := int(math.Ceil(0.01 * float64(videos)))
		second := max(first, int(math.Ceil(0.10*float64(videos))))
		for _, tier := range []struct {
			from, to int
			share    float64
		}{{0, first, 0.5}, {first, second, 0.3}, {second, videos, 0.2}} {
			for i := tier.from; i < tier.to; i++ {
				weights[i] = tier.share / float64(tier.to-tier.from)
			}
		}
	case Celebrity:
		// With one viewer on each video, the first needs the part first of the rest to have celebrityPart of all.
		first := max(1/float64(videos), (celebrityPart*float64(viewers)-1)/float64(max(1, viewers-videos)))
		for i := range weights {
			weights[i] = (1 - first) / float64(max(1, videos-1))
		}
		weights[0] = first
	default:
		return nil, fmt.Errorf("popularity must be %s, %s, %s or %s, not %q", Uniform, ThreeTier, Zipf, Celebrity, distribution)
	}
	return weights, nil
}

// Exponent returns the exponent of Zipf for these numbers of videos and viewers. It is found by bisection.
func Exponent(videos, viewers int) float64 {
	// With one viewer on each video, the first needs the part wanted of the rest to have CelebrityShare of all.
	rest := float64(viewers - videos)
	wanted := (CelebrityShare*float64(viewers) - 1) / rest
	if rest == 0 || wanted <= 1/float64(videos) {
		return 1
	}
	low, high := 0.0, 10.0
	for range 50 {
		exponent, sum := (low+high)/2, 0.0
		for rank := range videos {
			sum += math.Pow(float64(rank+1), -exponent)
		}
		if 1/sum < wanted {
			low = exponent
		} else {
			high = exponent
		}
	}
	return low
}

// apportion gives each video one viewer, and divides the rest by the largest remainder (Hamilton's method).
func apportion(weights []float64, viewers int) []int {
	total := 0.0
	for _, weight := range weights {
		total += weight
	}
	audiences, remainders := make([]int, len(weights)), make([]float64, len(weights))
	rest := viewers - len(weights)
	left := rest
	for i, weight := range weights {
		exact := weight / total * float64(rest)
		whole := math.Floor(exact)
		audiences[i], remainders[i] = 1+int(whole), exact-whole
		left -= int(whole)
	}
	order := make([]int, len(weights))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainders[b], remainders[a]) })
	for _, i := range order[:left] {
		audiences[i]++
	}
	return audiences
}

// Assign returns the video of each viewer, as an index into audiences. The first viewers take one video each in turn; the
// others follow in random order.
func Assign(audiences []int, random *rand.Rand) []int {
	var videos, others []int
	for video, audience := range audiences {
		videos = append(videos, video)
		for range audience - 1 {
			others = append(others, video)
		}
	}
	random.Shuffle(len(others), func(i, j int) { others[i], others[j] = others[j], others[i] })
	return append(videos, others...)
}
