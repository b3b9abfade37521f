package bench

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/livecomments/livecomments/services/lab/bench/crowd"
)

// Load is one measurement under load.
type Load struct {
	// Of is what was measured.
	Of                  string  `json:"of"`
	Viewers             int     `json:"viewers"`
	Comments            int     `json:"comments"`
	Seconds             float64 `json:"seconds"`
	CommentsPerSecond   float64 `json:"commentsPerSecond"`
	Deliveries          uint64  `json:"deliveries"`
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	// CPUMicros is the processor time of the measured process for one delivery, in microseconds.
	CPUMicros float64 `json:"cpuMicrosPerDelivery"`
	// PerRead is comments that a viewer got at a time.
	PerRead float64 `json:"commentsPerRead"`
	// P50, P99 and Max are the time from the post to the arrival.
	P50, P99, Max Millis
	// Wrong is comments missing, duplicate, out of order or announced as lost.
	Wrong uint64 `json:"wrong"`

	cpu     time.Duration
	reads   uint64
	latency *hdrhistogram.Histogram
}

// Millis is a duration that JSON has in milliseconds.
type Millis time.Duration

// MarshalJSON writes milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) {
	return strconv.AppendFloat(nil, m.millis(), 'f', 3, 64), nil
}

func (m Millis) millis() float64 { return float64(m) / float64(time.Millisecond) }

func (m Millis) String() string { return fmt.Sprintf("%.1f ms", m.millis()) }

// settle is how long comments may be on their way after the last was posted.
const settle = 30 * time.Second

// arrivals is what a crowd has seen when so many comments have arrived; what has not come in time is missing.
func arrivals(ctx context.Context, c *crowd.Crowd, want uint64) crowd.Figures {
	limited, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	_ = c.Await(limited, func(f crowd.Figures) bool { return f.Arrived >= want })
	return c.Reset()
}

// measure has work done that brings some comments to each of some viewers, and measures the process meanwhile.
func measure(ctx context.Context, of string, p *process, c *crowd.Crowd, viewers, comments int, work func() error) (Load, error) {
	l := Load{Of: of, Viewers: viewers, Comments: comments}
	c.Reset()
	before, err := p.cpu()
	if err != nil {
		return l, err
	}
	began := time.Now()
	if err := work(); err != nil {
		return l, err
	}
	posting := time.Since(began)
	want := uint64(viewers) * uint64(comments) //nolint:gosec // both are small
	figures := arrivals(ctx, c, want)
	l.Seconds = posting.Seconds()
	after, err := p.cpu()
	if err != nil {
		return l, err
	}
	l.cpu, l.latency, l.Deliveries, l.reads, l.Wrong = after-before, figures.Latency, figures.Arrived, figures.Reads, figures.Wrong()
	if l.Deliveries < want && l.Wrong == 0 {
		l.Wrong = want - l.Deliveries
	}
	l.derive()
	return l, nil
}

// derive computes what follows from the counts.
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

// add is l and another measurement of the same as one.
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
