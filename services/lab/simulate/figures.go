package simulate

import (
	"math"
	"math/bits"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// RedisLimit is about the number of messages that one instance of Redis can deliver in a second.
const RedisLimit = 650_000

// Result has the figures of one fleet under one strategy and one popularity.
type Result struct {
	Popularity popularity.Distribution `json:"popularity"`
	Strategy   placement.Name          `json:"strategy"`
	Readers    int                     `json:"readers"`
	// Share is the part of all videos that a reader is subscribed to, and MessageShare the part of all comments that it receives.
	Share        Spread `json:"share"`
	MessageShare Spread `json:"messageShare"`
	// CopiesPerComment is the number of readers that receive a comment, on average.
	CopiesPerComment float64 `json:"copiesPerComment"`
	// ClosedForm has the expected values of Share and CopiesPerComment. It is nil where there is no formula for them.
	ClosedForm *ClosedForm `json:"closedForm"`
	// MessagesIn are the comments that a reader receives in a second, and DeliveriesOut those that it writes to viewers.
	MessagesIn    Spread `json:"messagesIn"`
	DeliveriesOut Spread `json:"deliveriesOut"`
	// Busiest is the most viewers that a reader has ÷ their mean, and BusiestDeliveries the same of DeliveriesOut.
	Busiest           float64 `json:"busiest"`
	BusiestDeliveries float64 `json:"busiestDeliveries"`
	// RedisDeliveries are the messages that Redis delivers in a second, and OfRedisLimit is RedisDeliveries ÷ RedisLimit.
	RedisDeliveries float64 `json:"redisDeliveries"`
	OfRedisLimit    float64 `json:"ofRedisLimit"`
	// MovedWhenAdded is the part of all viewers that move to another reader when one is added, and MovedWhenLost when one is
	// lost, including its own viewers.
	MovedWhenAdded float64 `json:"movedWhenAdded"`
	MovedWhenLost  float64 `json:"movedWhenLost"`
}

// Spread is the range and the mean of a figure over the readers.
type Spread struct {
	Min  float64 `json:"min"`
	Mean float64 `json:"mean"`
	Max  float64 `json:"max"`
}

// SpreadOf is the spread of values, of which there is at least one.
func SpreadOf(values []float64) Spread {
	s := Spread{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, value := range values {
		s.Min, s.Max, s.Mean = min(s.Min, value), max(s.Max, value), s.Mean+value/float64(len(values))
	}
	return s
}

func (s Spread) times(factor float64) Spread {
	return Spread{s.Min * factor, s.Mean * factor, s.Max * factor}
}

// measure computes the figures of a fleet from the reader of each viewer.
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
		Share: SpreadOf(channels), MessageShare: SpreadOf(share), CopiesPerComment: copies,
		MessagesIn: SpreadOf(share).times(a.commentsPerSecond()), DeliveriesOut: SpreadOf(deliveries),
		RedisDeliveries: copies * a.commentsPerSecond(),
	}
	streams := SpreadOf(viewers)
	result.Busiest = streams.Max / streams.Mean
	if result.DeliveriesOut.Mean > 0 {
		result.BusiestDeliveries = result.DeliveriesOut.Max / result.DeliveriesOut.Mean
	}
	result.OfRedisLimit = result.RedisDeliveries / RedisLimit
	return result
}

// ClosedForm has expected values, for viewers that are placed at random or together with all of their video.
type ClosedForm struct {
	Share            float64 `json:"share"`
	CopiesPerComment float64 `json:"copiesPerComment"`
}

// closedForm sums over the audiences. At random, each of R readers is subscribed to a video of n viewers with a probability of
// 1-(1-1/R)^n. Where each video is on one reader, that is 1/R. For bounded loads there is no formula.
func closedForm(strategy placement.Name, sizes []int, readers int) *ClosedForm {
	r := float64(readers)
	switch strategy {
	case placement.Random:
		var form ClosedForm
		total := 0.0
		for _, n := range sizes {
			p := placement.RandomShare(readers, float64(n))
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
