package million

import (
	"fmt"
	"math"
	"runtime"
	"time"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/goal"
	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/shared/placement"
)

// Output is what was measured, as it is printed in JSON.
type Output struct {
	Machine   string   `json:"machine"`
	Viewers   int      `json:"viewers"`
	Videos    int      `json:"videos"`
	Readers   int      `json:"readers"`
	Crowds    int      `json:"crowds"`
	LoadBound float64  `json:"loadBound"`
	Routings  []Result `json:"routings"`
	// Goals are what the scene requires.
	Goals []goal.Goal `json:"goals"`
}

// Result is what was measured under one routing.
type Result struct {
	Routing placement.Name `json:"routing"`

	// Connected is how many viewers have a stream, PerReader how many each reader has.
	Connected int             `json:"connected"`
	PerReader simulate.Spread `json:"viewersPerReader"`
	// Share is the part of all videos that a reader is subscribed to, and Copies how many readers get a comment, on average. The
	// closed form is for random only.
	Share            simulate.Spread `json:"share"`
	ShareClosedForm  *float64        `json:"shareClosedForm,omitempty"`
	ShareSimulated   float64         `json:"shareSimulated"`
	Copies           float64         `json:"copiesPerComment"`
	CopiesClosedForm *float64        `json:"copiesClosedForm,omitempty"`
	CopiesSimulated  float64         `json:"copiesSimulated"`

	Memory Memory `json:"memory"`

	// ConnectSeconds is the time from the first connect until all had a stream, SettleSeconds from then until all were where they
	// belong; Misplaced is how many never were.
	ConnectSeconds float64 `json:"connectSeconds"`
	SettleSeconds  float64 `json:"settleSeconds"`
	Misplaced      int     `json:"misplaced"`
	// Redirects is how often viewers were sent on, and TwiceSentOn how often once more in the same connect, which never should be.
	Redirects   int `json:"redirects"`
	TwiceSentOn int `json:"twiceSentOn"`
	// Moved is the streams that readers ended because they belonged elsewhere, Returned all that viewers began anew. Refused and
	// Failed count connects that gave no stream; their viewers have tried again.
	Moved    int `json:"moved"`
	Returned int `json:"returned"`
	Refused  int `json:"refused"`
	Failed   int `json:"failed"`
	// Direct and Redirected are the time from a connect to the first event, without a redirect and with one, and Away how long
	// those that were moved had no stream.
	Direct     Quantiles `json:"firstEventDirect"`
	Redirected Quantiles `json:"firstEventRedirected"`
	Away       Quantiles `json:"away"`
	// ConnectMicros is the processor time of readers and Redis for each viewer, until all were where they belong.
	ConnectMicros float64 `json:"connectMicrosPerViewer"`

	// Quiet is before the first comment.
	Quiet Quiet `json:"quiet"`

	Comments   int       `json:"comments"`
	Deliveries uint64    `json:"deliveries"`
	Seconds    float64   `json:"seconds"`
	Latency    Quantiles `json:"latency"`
	// Lost, Duplicates and Misordered count deliveries, Gaps announcements of a loss.
	Lost       uint64 `json:"lost"`
	Duplicates uint64 `json:"duplicates"`
	Misordered uint64 `json:"misordered"`
	Gaps       uint64 `json:"gaps"`
	// The processor time of all readers, of Redis and of the viewers for each delivery, in microseconds. What is used while nobody
	// comments is among it: the fewer comments there are, the more of that is each delivery's.
	ReadersMicros float64 `json:"readersMicrosPerDelivery"`
	RedisMicros   float64 `json:"redisMicrosPerDelivery"`
	ViewersMicros float64 `json:"viewersMicrosPerDelivery"`
}

// Memory is what the scene takes, in bytes: the sum, and its parts. Readers and Viewers are what their processes have for
// themselves, Kernel is the kernel's objects, of which sockets are most, and Buffers what sockets hold of data.
type Memory struct {
	All     int `json:"all"`
	Readers int `json:"readers"`
	Viewers int `json:"viewers"`
	Redis   int `json:"redis"`
	Kernel  int `json:"kernel"`
	Buffers int `json:"buffers"`
	// Available is what the machine has left.
	Available int `json:"available"`
}

// Quiet is how many cores are busy while nobody comments.
type Quiet struct {
	ReadersCores float64 `json:"readersCores"`
	RedisCores   float64 `json:"redisCores"`
}

// spread is the range and the mean of a figure over the readers.
func spread(values []float64) simulate.Spread {
	s := simulate.Spread{Min: math.Inf(1), Max: math.Inf(-1)}
	for _, value := range values {
		s.Min, s.Max, s.Mean = min(s.Min, value), max(s.Max, value), s.Mean+value/float64(len(values))
	}
	return s
}

// Quantiles are those of times, in milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50Millis"`
	P99 float64 `json:"p99Millis"`
	Max float64 `json:"maxMillis"`
}

func quantiles(times crowd.Times) Quantiles {
	millis := func(percent float64) float64 { return float64(times.Quantile(percent).Microseconds()) / 1000 }
	return Quantiles{millis(50), millis(99), millis(100)}
}

// connected takes what the viewers have seen until all were connected.
func (r *Result) connected(seen crowd.Figures) {
	r.Connected, r.Redirects, r.TwiceSentOn = seen.Connected, seen.Redirects, seen.Loops
	r.Returned, r.Refused, r.Failed = seen.Returned, seen.Refused, seen.Failed
	r.Direct, r.Redirected, r.Away = quantiles(seen.Direct), quantiles(seen.Redirected), quantiles(seen.Away)
}

// delivered takes what the viewers have seen of the comments, of which so many deliveries should have come.
func (r *Result) delivered(seen crowd.Figures, want int, before, after used) {
	r.Deliveries, r.Latency = seen.Arrived, quantiles(seen.Latency)
	r.Duplicates, r.Misordered, r.Gaps = seen.Duplicates, seen.Misordered, seen.Gaps
	if arrived := seen.Arrived - seen.Duplicates; arrived < uint64(want) { //nolint:gosec // it is positive
		r.Lost = uint64(want) - arrived //nolint:gosec // it is positive
	}
	r.Seconds = after.at.Sub(before.at).Seconds()
	r.ReadersMicros = micros(after.readers-before.readers, r.Deliveries)
	r.RedisMicros = micros(after.redis-before.redis, r.Deliveries)
	r.ViewersMicros = micros(after.viewers-before.viewers, r.Deliveries)
}

// micros is a time for each of n, in microseconds.
func micros[N int | uint64](used time.Duration, n N) float64 {
	return float64(used.Nanoseconds()) / 1000 / float64(max(1, n))
}

// expect takes what the simulation and the closed form say.
func (r *Result) expect(simulated simulate.Result) {
	r.ShareSimulated, r.CopiesSimulated = simulated.Share.Mean, simulated.CopiesPerComment
	if simulated.ClosedForm != nil {
		r.ShareClosedForm, r.CopiesClosedForm = &simulated.ClosedForm.Share, &simulated.ClosedForm.CopiesPerComment
	}
}

// goals are what the scene requires, for each routing.
func (o *Output) goals() (goals []goal.Goal) {
	for _, r := range o.Routings {
		add := func(delivery, met bool, format string, args ...any) {
			says := string(r.Routing) + ": " + fmt.Sprintf(format, args...)
			goals = append(goals, goal.Goal{Says: says, Met: met, Delivery: delivery})
		}
		add(true, r.Connected == o.Viewers, "%s of %s viewers had a stream at the same time",
			thousands(r.Connected), thousands(o.Viewers))
		if r.Connected < o.Viewers {
			continue
		}
		add(true, r.Lost+r.Duplicates+r.Misordered+r.Gaps == 0,
			"%d deliveries were lost, %d duplicate, %d out of order, and %d gaps announced (none)",
			r.Lost, r.Duplicates, r.Misordered, r.Gaps)
		add(true, r.TwiceSentOn == 0, "%d times a viewer was sent on twice in one connect (never)", r.TwiceSentOn)
		add(false, math.Abs(r.Share.Mean-r.ShareSimulated) <= 0.03,
			"a reader is subscribed to %s of the videos; the simulation says %s (within 3 points)",
			percent(r.Share.Mean), percent(r.ShareSimulated))
		if r.Routing != placement.Random {
			add(false, r.Misplaced == 0, "%s streams are not where they belong (none)", thousands(r.Misplaced))
		}
	}
	return goals
}

// failure says which goals of delivery were not met; it is nil where all were.
func (o *Output) failure() error { return goal.Failure(o.Goals) }

func machine(redisVersion string) string {
	return fmt.Sprintf("%d cores, %s/%s, %s, redis-server %s; readers, viewers and Redis share it",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), redisVersion)
}
