package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/process"
)

// Load is one measurement under load.
type Load struct {
	// Of names what was measured.
	Of                  string  `json:"of"`
	Viewers             int     `json:"viewers"`
	Comments            int     `json:"comments"`
	Seconds             float64 `json:"seconds"`
	CommentsPerSecond   float64 `json:"commentsPerSecond"`
	Deliveries          uint64  `json:"deliveries"`
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	// CPUMicros is the processor time of the measured process for each delivery, in microseconds.
	CPUMicros float64 `json:"cpuMicrosPerDelivery"`
	// PerRead is how many comments a viewer got in one read, on average.
	PerRead float64 `json:"commentsPerRead"`
	// P50, P99 and Max are the time from the post to the arrival.
	P50, P99, Max Millis
	// Wrong is how often a comment was missing, duplicate, out of order or announced as lost, or a stream was cut.
	Wrong uint64 `json:"wrong"`

	cpu     time.Duration
	reads   uint64
	latency *hdrhistogram.Histogram
}

// Millis is a duration that is written to JSON in milliseconds.
type Millis time.Duration

// MarshalJSON writes milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, m.millis(), 'f', 3, 64), nil
}

func (m Millis) millis() float64 { return float64(m) / float64(time.Millisecond) }

func (m Millis) String() string { return fmt.Sprintf("%.1f ms", m.millis()) }

// arrivalTimeout is how long after the last post the last comment may arrive.
const arrivalTimeout = 30 * time.Second

// awaitArrivals waits until so many comments have arrived, or the time for that is over, and resets the crowd's figures and
// returns them.
func awaitArrivals(ctx context.Context, c *crowd.Crowd, want uint64) crowd.Figures {
	limited, cancel := context.WithTimeout(ctx, arrivalTimeout)
	defer cancel()
	_ = c.Await(limited, func(f crowd.Figures) bool { return f.Arrived >= want })
	return c.Reset()
}

// measure measures a process during work, which brings so many comments to each of so many viewers.
func measure(ctx context.Context, of string, p *process.Process, c *crowd.Crowd, viewers, comments int, work func() error) (Load, error) {
	l := Load{Of: of, Viewers: viewers, Comments: comments}
	c.Reset()
	before, err := p.CPU()
	if err != nil {
		return l, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return l, err
	}
	posting := time.Since(began)
	want := uint64(viewers) * uint64(comments) //nolint:gosec // both are small
	figures := awaitArrivals(ctx, c, want)
	l.Seconds = posting.Seconds()
	after, err := p.CPU()
	if err != nil {
		return l, err
	}
	l.cpu, l.latency, l.Deliveries, l.reads, l.Wrong = after-before, figures.Latency.Histogram, figures.Arrived, figures.Reads, figures.Wrong()
	if l.Deliveries < want && l.Wrong == 0 {
		l.Wrong = want - l.Deliveries
	}
	l.derive()
	return l, nil
}

// derive computes rates and quantiles from the counts.
func (l *Load) derive() {
	l.CommentsPerSecond = float64(l.Comments) / l.Seconds
	l.DeliveriesPerSecond = float64(l.Deliveries) / l.Seconds
	l.CPUMicros = float64(l.cpu.Nanoseconds()) / 1000 / float64(l.Deliveries)
	l.PerRead = float64(l.Deliveries) / float64(l.reads)
	quantile := func(percent float64) Millis {
		return Millis(time.Duration(l.latency.ValueAtQuantile(percent)) * time.Microsecond)
	}
	l.P50, l.P99, l.Max = quantile(50), quantile(99), quantile(100)
}

// add merges another measurement of the same into l.
func (l *Load) add(other Load) {
	if l.latency == nil {
		*l = other
		return
	}
	l.Comments += other.Comments
	l.Seconds += other.Seconds
	l.Deliveries += other.Deliveries
	l.Wrong += other.Wrong
	l.cpu += other.cpu
	l.reads += other.reads
	l.latency.Merge(other.latency)
	l.derive()
}
