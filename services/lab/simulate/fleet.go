package simulate

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// RedisLimit is about how many messages one instance of Redis delivers a second.
const RedisLimit = 650_000

// Result is what one strategy makes of a fleet.
type Result struct {
	Popularity popularity.Distribution `json:"popularity"`
	Strategy   placement.Name          `json:"strategy"`
	Readers    int                     `json:"readers"`
	// Share is the part of all videos that a reader is subscribed to, MessageShare the part of all comments that it receives.
	Share        Spread `json:"share"`
	MessageShare Spread `json:"messageShare"`
	// CopiesPerComment is how many readers receive a comment.
	CopiesPerComment float64 `json:"copiesPerComment"`
	// ClosedForm is what Share and CopiesPerComment are expected to be; nil where there is no such formula.
	ClosedForm *ClosedForm `json:"closedForm"`
	// MessagesIn are the comments that a reader receives a second, DeliveriesOut those that it writes to viewers.
	MessagesIn    Spread `json:"messagesIn"`
	DeliveriesOut Spread `json:"deliveriesOut"`
	// Hottest is how many times the mean the reader with the most viewers has, HottestDeliveries the same for the one that
	// writes the most.
	Hottest           float64 `json:"hottest"`
	HottestDeliveries float64 `json:"hottestDeliveries"`
	// RedisDeliveries are the messages that Redis delivers a second, OfRedisLimit their part of RedisLimit.
	RedisDeliveries float64 `json:"redisDeliveries"`
	OfRedisLimit    float64 `json:"ofRedisLimit"`
	// MovedWhenAdded is the part of all viewers that move to another reader when one is added, MovedWhenLost when one is lost, its
	// own viewers among them.
	MovedWhenAdded float64 `json:"movedWhenAdded"`
	MovedWhenLost  float64 `json:"movedWhenLost"`
}

// Spread is how a figure differs from reader to reader.
type Spread struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
}

func spread(values []float64) Spread {
	s := Spread{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, value := range values {
		s.Min, s.Max, s.Mean = min(s.Min, value), max(s.Max, value), s.Mean+value/float64(len(values))
	}
	return s
}

func (s Spread) times(factor float64) Spread {
	return Spread{s.Min * factor, s.Mean * factor, s.Max * factor}
}

// simulate places every viewer of an audience on a fleet of so many readers, and then lets a reader come, and another go.
// It takes time in proportion to the viewers.
func simulate(a *audience, strategy placement.Name, readers int, options placement.Options) (Result, error) {
	// A source of its own, so that the result is the same whatever is simulated beside it.
	options.Random = rand.New(rand.NewPCG(a.Seed, uint64(readers))) //nolint:gosec // from 1 to 1000
	placer, err := placement.New(strategy, options)
	if err != nil {
		return Result{}, err
	}
	name := func(i int) string { return fmt.Sprintf("reader-%d", i+1) }
	for i := range readers {
		placer.Add(name(i))
	}
	at := make([]placement.Reader, len(a.arrivals))
	for viewer, video := range a.arrivals {
		at[viewer] = placer.Place(a.videos[video])
	}
	move := func() float64 {
		moved := 0
		for viewer, video := range a.arrivals {
			if to := placer.Move(a.videos[video], at[viewer]); to != at[viewer] {
				at[viewer] = to
				moved++
			}
		}
		return float64(moved) / float64(len(at))
	}
	// Streams end, and viewers come back: what the first minutes of an empty fleet have done to some does not stay.
	move()
	result := measure(a, at, readers)
	result.Popularity, result.Strategy, result.Readers = a.distribution, strategy, readers
	result.ClosedForm = closedForm(strategy, a.sizes, readers)

	added := placer.Add(name(readers))
	result.MovedWhenAdded = move()
	placer.Remove(added)
	move()
	placer.Remove(placement.Reader(readers / 2))
	result.MovedWhenLost = move()
	return result, nil
}

// measure takes the figures of viewers that are placed.
func measure(a *audience, at []placement.Reader, readers int) Result {
	viewers := make([]float64, readers)
	// For each video, a bit for each reader that has viewers of it.
	words := (readers + 63) / 64
	subscribed := make([]uint64, len(a.videos)*words)
	// Each viewer receives all comments of its video.
	deliveries := make([]float64, readers)
	perViewer := a.CommentsPerMinute / 60
	for viewer, video := range a.arrivals {
		reader := int(at[viewer])
		viewers[reader]++
		deliveries[reader] += float64(a.sizes[video]) * perViewer
		subscribed[int(video)*words+reader/64] |= 1 << (reader % 64)
	}
	channels, share := make([]float64, readers), make([]float64, readers)
	copies := 0.0
	for video, size := range a.sizes {
		part := float64(size) / float64(a.Viewers) // of all comments
		for word, set := range subscribed[video*words : (video+1)*words] {
			for ; set != 0; set &= set - 1 {
				reader := word*64 + bits.TrailingZeros64(set)
				channels[reader] += 1 / float64(len(a.videos))
				share[reader] += part
				copies += part
			}
		}
	}
	result := Result{
		Share: spread(channels), MessageShare: spread(share), CopiesPerComment: copies,
		MessagesIn: spread(share).times(a.commentsPerSecond()), DeliveriesOut: spread(deliveries),
		RedisDeliveries: copies * a.commentsPerSecond(),
	}
	streams := spread(viewers)
	result.Hottest = streams.Max / streams.Mean
	if result.DeliveriesOut.Mean > 0 {
		result.HottestDeliveries = result.DeliveriesOut.Max / result.DeliveriesOut.Mean
	}
	result.OfRedisLimit = result.RedisDeliveries / RedisLimit
	return result
}

// ClosedForm is what is expected of viewers who are placed at random, or each video's together.
type ClosedForm struct {
	Share            float64 `json:"share"`
	CopiesPerComment float64 `json:"copiesPerComment"`
}

// closedForm sums over the popularity: of R readers, each is subscribed to a video of n viewers with a probability of
// 1-(1-1/R)^n at random; where a video's viewers are together, to one video in R. Bounded loads have no such formula.
func closedForm(strategy placement.Name, sizes []int, readers int) *ClosedForm {
	r := float64(readers)
	switch strategy {
	case placement.Random:
		var form ClosedForm
		total := 0.0
		for _, n := range sizes {
			p := 1 - math.Pow(1-1/r, float64(n))
			form.Share += p / float64(len(sizes))
			form.CopiesPerComment += float64(n) * r * p
			total += float64(n)
		}
		form.CopiesPerComment /= total
		return &form
	case placement.Registry, placement.Hash, placement.Ring:
		return &ClosedForm{Share: 1 / r, CopiesPerComment: 1}
	case placement.Bounded:
	}
	return nil
}
