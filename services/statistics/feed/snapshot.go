package feed

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// mostHot is how many of the videos with the most deliveries a snapshot has, mostReaders how many readers.
const mostHot, mostReaders = 10, 200

// sample is one moment of the past. What is not known is null.
type sample struct {
	At         int64    `json:"at"` // milliseconds since 1970
	Comments   float64  `json:"comments"`
	Deliveries float64  `json:"deliveries"`
	Messages   float64  `json:"messages"`
	Copies     *float64 `json:"copies"`
	P99        *float64 `json:"p99"`
}

func newSample(at time.Time, rates tally.Rates, latency reports.Latency) sample {
	s := sample{
		At: at.UnixMilli(), Comments: round(rates.CommentsPerSecond), Deliveries: round(rates.DeliveriesPerSecond),
		Messages: round(rates.ReceivedPerSecond), Copies: copies(rates),
	}
	if latency.Count > 0 {
		s.P99 = rounded(latency.P99)
	}
	return s
}

// snapshot is the system at one moment. The figures are those of [tally.Totals], rates a second and rounded. What is not known
// is null.
type snapshot struct {
	At          int64         `json:"at"` // milliseconds since 1970
	Routing     string        `json:"routing"`
	Readers     []reader      `json:"readers"` // by id
	ReaderCount int           `json:"readerCount"`
	Viewers     int           `json:"viewers"`
	Channels    int           `json:"channels"`
	Comments    float64       `json:"comments"`
	Deliveries  float64       `json:"deliveries"`
	Messages    float64       `json:"messages"`
	Copies      *float64      `json:"copies"`
	Random      *random       `json:"random"`
	Latency     *latency      `json:"latency"`
	Verified    *verification `json:"verification"`
	Clients     *clients      `json:"clients"`
	Stored      uint64        `json:"storedComments"`
	Redis       redisFigures  `json:"redis"`
	Hot         []hot         `json:"hot"`
}

type reader struct {
	ID         string   `json:"id"`
	Viewers    int      `json:"viewers"`
	Channels   int      `json:"channels"`
	Share      float64  `json:"share"`
	MessagesIn float64  `json:"messagesIn"`
	Deliveries float64  `json:"deliveries"`
	CPU        *float64 `json:"cpu"`    // seconds of processor time a second
	Memory     *uint64  `json:"memory"` // bytes
	Shared     bool     `json:"shared"`
	Routing    string   `json:"routing"`
	Misplaced  int      `json:"misplaced"`
	Gaps       uint64   `json:"gaps"`
}

type latency struct {
	P50   float64 `json:"p50"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
	Count int64   `json:"count"`
}

type verification struct {
	Missing     uint64 `json:"missing"`
	Duplicates  uint64 `json:"duplicates"`
	Misordered  uint64 `json:"misordered"`
	Corrupt     uint64 `json:"corrupt"`
	Pending     uint64 `json:"pending"`
	Gaps        uint64 `json:"gaps"`
	Reconnects  uint64 `json:"reconnects"`
	FailedPosts uint64 `json:"failedPosts"`
}

type clients struct {
	Viewers   int `json:"viewers"`
	Connected int `json:"connected"`
}

// hot is a video that many comments are delivered of. Its viewers are those of the readers that list it.
type hot struct {
	Video      string   `json:"video"`
	Viewers    uint64   `json:"viewers"`
	Readers    int      `json:"readers"`
	Comments   *float64 `json:"comments"`
	Deliveries *float64 `json:"deliveries"`
	// Skipped is always 0: readers write every comment to every viewer.
	Skipped float64 `json:"skipped"`
}

func newSnapshot(t tally.Totals, redis redisFigures) snapshot {
	all := t.ReaderAPIs
	videos := audiences(all.Readers)
	s := snapshot{
		At: t.Timestamp.UnixMilli(), Routing: all.Routing, ReaderCount: all.TotalReaders, Viewers: all.TotalActiveConnections,
		Channels: all.AllSubscribedTopicCount, Comments: round(t.Rates.CommentsPerSecond), Deliveries: round(t.Rates.DeliveriesPerSecond),
		Messages: round(t.Rates.ReceivedPerSecond), Copies: copies(t.Rates), Random: atRandom(t, videos), Stored: t.StoredComments, Redis: redis,
		Hot: hottest(t.CommentAPI, videos), Readers: []reader{},
	}
	for _, one := range all.Readers[:min(len(all.Readers), mostReaders)] {
		s.Readers = append(s.Readers, newReader(one))
	}
	if v := t.Viewers; v.Clients > 0 {
		s.Clients = &clients{v.Viewers, v.Connected}
		s.Verified = &verification{v.Missing, v.Duplicates, v.Misordered, v.Corrupt, v.Pending, v.Gaps, v.Reconnects, v.FailedPosts}
		if l := v.LatencyMillis; l.Count > 0 {
			s.Latency = &latency{round(l.P50), round(l.P99), round(l.Max), l.Count}
		}
	}
	return s
}

func newReader(of tally.Reader) reader {
	r := reader{
		ID: of.InstanceID, Viewers: of.ActiveConnections, Channels: of.SubscribedTopicCount, Share: round(of.SubscriptionShare),
		MessagesIn: round(of.ReceivedPerSecond), Deliveries: round(of.DeliveriesPerSecond), Shared: of.Shared, Routing: of.Routing,
		Misplaced: of.Misplaced, Gaps: of.Gaps,
	}
	if of.CPUSeconds > 0 {
		r.CPU = rounded(of.CPU)
	}
	if of.MemoryBytes > 0 {
		r.Memory = &of.MemoryBytes
	}
	return r
}

// audience is what readers report of one video.
type audience struct {
	viewers uint64
	readers int
}

// audiences are those of the videos that some reader lists.
func audiences(readers []tally.Reader) map[string]audience {
	videos := map[string]audience{}
	for _, r := range readers {
		for video, viewers := range r.Audiences {
			one := videos[video]
			videos[video] = audience{one.viewers + viewers, one.readers + 1}
		}
	}
	return videos
}

func hottest(comments tally.CommentAPI, videos map[string]audience) []hot {
	complete := comments.CommentedVideos <= len(comments.CommentsByVideo)
	all := make([]hot, 0, len(videos))
	for video, a := range videos {
		one := hot{Video: video, Viewers: a.viewers, Readers: a.readers}
		rate, known := comments.CommentsPerSecondByVideo[video]
		if _, counted := comments.CommentsByVideo[video]; known || complete && !counted && comments.Instances > 0 {
			one.Comments, one.Deliveries = rounded(rate), rounded(rate*float64(a.viewers))
		}
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b hot) int {
		return cmp.Or(cmp.Compare(orZero(b.Deliveries), orZero(a.Deliveries)), cmp.Compare(b.Viewers, a.Viewers), cmp.Compare(a.Video, b.Video))
	})
	return all[:min(len(all), mostHot)]
}

func orZero(number *float64) float64 {
	if number == nil {
		return 0
	}
	return *number
}

// random is what the fleet would have if each viewer were at any reader: the share of the channels that a reader is subscribed to,
// the copies of a comment, and the messages a second that Redis delivers.
type random struct {
	Share    float64 `json:"share"`
	Copies   float64 `json:"copies"`
	Messages float64 `json:"messages"`
}

// atRandom is an estimate. It is the closed form for the videos that readers list, and takes the viewers that are left for equal
// audiences of the channels that are left. Comments it takes for proportional to viewers. It is nil while there are no viewers.
func atRandom(t tally.Totals, videos map[string]audience) *random {
	readers, viewers := t.ReaderAPIs.TotalReaders, float64(t.ReaderAPIs.TotalActiveConnections)
	if readers == 0 || viewers == 0 || len(videos) == 0 {
		return nil
	}
	var share, copies, listed float64
	add := func(audience, count float64) {
		p := placement.RandomShare(readers, audience)
		share += count * p
		copies += count * audience * float64(readers) * p
	}
	for _, one := range videos {
		add(float64(one.viewers), 1)
		listed += float64(one.viewers)
	}
	others, rest := float64(t.ReaderAPIs.AllSubscribedTopicCount-len(videos)), viewers-listed
	if others > 0 && rest > 0 {
		add(rest/others, others)
	} else {
		others, rest = 0, 0
	}
	copies /= listed + rest
	return &random{round(share / (float64(len(videos)) + others)), round(copies), round(copies * t.Rates.CommentsPerSecond)}
}

// copies is nil while nothing is published.
func copies(rates tally.Rates) *float64 {
	if rates.CommentsPerSecond == 0 {
		return nil
	}
	return rounded(rates.CopiesPerComment)
}

// round keeps four digits after the point: more only make a snapshot long.
func round(number float64) float64 {
	if math.IsNaN(number) || math.Abs(number) > 1e15 {
		return 0 // it can only be made up, and JSON has no word for all of these
	}
	return math.Round(number*1e4) / 1e4
}

func rounded(number float64) *float64 {
	number = round(number)
	return &number
}
