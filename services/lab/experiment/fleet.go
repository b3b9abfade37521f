package experiment

import (
	"context"
	"fmt"
	"time"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/reports"
)

// Fleet is what was measured of one fleet under one routing and one popularity.
type Fleet struct {
	Popularity popularity.Distribution `json:"popularity"`
	Routing    placement.Name          `json:"routing"`
	// Proxy reports whether viewers came through HAProxy, which chose their readers.
	Proxy   bool `json:"proxy"`
	Readers int  `json:"readers"`
	// Share is the part of all videos that a reader is subscribed to.
	Share simulate.Spread `json:"share"`
	// CopiesPerComment is what the readers received ÷ what was published.
	CopiesPerComment float64 `json:"copiesPerComment"`
	// MessagesIn are the messages that a reader receives in a second, and Viewers those that it holds.
	MessagesIn simulate.Spread `json:"messagesIn"`
	Viewers    simulate.Spread `json:"viewersOfReader"`
	// Busiest is the most viewers of a reader ÷ their mean.
	Busiest float64 `json:"busiest"`
	// Simulated has the figures of simulations of the same, and ClosedForm what the formula expects. Both are nil for a proxy,
	// which has a hash of its own.
	Simulated  *Simulated           `json:"simulated"`
	ClosedForm *simulate.ClosedForm `json:"closedForm"`
	// CommentsPerSecond and DeliveriesPerSecond are of all readers.
	CommentsPerSecond   float64 `json:"commentsPerSecond"`
	DeliveriesPerSecond float64 `json:"deliveriesPerSecond"`
	// CPU is the processor time for a delivery, in microseconds.
	CPU CPU `json:"cpuMicrosPerDelivery"`
	// Verification and LatencyMillis are what the viewers found, of all comments.
	Verification  reports.Verification `json:"verification"`
	LatencyMillis reports.Latency      `json:"latencyMillis"`
	// SettledSeconds is the time from the start of the viewers until all had streams where they belong, and Settled whether that
	// was so before the measurement. Astray is how many had not, when it began.
	SettledSeconds float64 `json:"settledSeconds"`
	Settled        bool    `json:"settled"`
	Astray         float64 `json:"astray"`
	// ReconnectsPerSecond is of all viewers, during the measurement.
	ReconnectsPerSecond float64 `json:"reconnectsPerSecond"`
	// SentOn is the part of all connects that were answered by a redirect.
	SentOn float64 `json:"sentOn"`
}

// Simulated are figures of the simulation: means over several, which differ in what is random.
type Simulated struct {
	Share            float64 `json:"share"`
	CopiesPerComment float64 `json:"copiesPerComment"`
	Busiest          float64 `json:"busiest"`
}

// CPU is processor time by what used it.
type CPU struct {
	Readers float64 `json:"readers"`
	Proxy   float64 `json:"proxy"`
	Redis   float64 `json:"redis"`
}

func (c CPU) total() float64 { return c.Readers + c.Proxy + c.Redis }

// trial is one fleet that is measured.
type trial struct {
	plan plan
	*system
	viewers *viewers
	fleet   Fleet
	sum     load
	latest  counts
	before  uint64 // reconnects, before the measurement
}

// load is what was counted under load.
type load struct {
	seconds, published, deliveries float64
	received                       map[string]float64 // by reader
	used                           used
}

const (
	// connectRate is how many viewers of a fleet connect a second. Readers know each other's loads of a moment ago; the more come
	// in that moment, the more of them must move afterwards, at MOVE_RATE.
	connectRate = 125
	// settleLimit is how long a measurement waits until all viewers are where they belong. Small videos that came before a celebrity
	// was known for one make way for it at MOVE_RATE.
	settleLimit = time.Minute
	// silenceLimit is how long a measurement waits for the first comment of a round.
	silenceLimit = time.Minute
	// quiet is the time in which all comments that were posted have arrived.
	quiet = 300 * time.Millisecond
)

// prepare starts the system, connects the viewers, and waits until they are where they belong.
func (t *trial) prepare(ctx context.Context, e *experiment, readers int, distribution popularity.Distribution) (err error) {
	if t.system, err = e.start(ctx, t.plan.routing, readers); err != nil {
		return err
	}
	if t.plan.haproxy != "" {
		if err := t.startProxy(ctx, t.plan.haproxy); err != nil {
			return err
		}
	}
	t.fleet = Fleet{Popularity: distribution, Routing: t.routing, Proxy: t.proxy != nil, Readers: readers}
	t.sum.received = map[string]float64{}
	if t.viewers, err = t.connect(ctx, distribution, connectRate, t.doors(readers)); err != nil {
		return err
	}
	limit := settleLimit + time.Duration(t.Viewers/connectRate)*time.Second
	settled, ok, err := t.settle(ctx, t.viewers, time.Second, limit, func(now figures) { t.fleet.Astray = now.sum(misplaced) })
	t.fleet.SettledSeconds, t.fleet.Settled = settled.Seconds(), ok
	t.before = t.viewers.now().Reconnects
	if missing := t.Viewers - t.viewers.now().Connected; err == nil && missing > t.Viewers/20 {
		return fmt.Errorf("%d of %d viewers have no stream", missing, t.Viewers)
	}
	return err
}

// round has the viewers post for a second, or until the first comment where they are few, and adds what that has brought. Nothing
// is on its way when the figures are read, and what reading them costs is not counted.
func (t *trial) round(ctx context.Context) error {
	before, err := t.count(ctx)
	if err != nil {
		return err
	}
	usedBefore, err := t.used()
	if err != nil {
		return err
	}
	began := time.Now()
	if err := t.viewers.post(ctx, t.CommentsPerMinute); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if err := t.awaitComment(ctx, before.published); err != nil {
		return err
	}
	if err := t.viewers.post(ctx, 0); err != nil {
		return err
	}
	t.sum.seconds += time.Since(began).Seconds()
	if err := pause(ctx, quiet); err != nil {
		return err
	}
	usedAfter, err := t.used()
	if err != nil {
		return err
	}
	after, err := t.count(ctx)
	if err != nil {
		return err
	}
	t.sum.used.readers += usedAfter.readers - usedBefore.readers
	t.sum.used.proxy += usedAfter.proxy - usedBefore.proxy
	t.sum.used.redis += usedAfter.redis - usedBefore.redis
	t.sum.published += after.published - before.published
	t.sum.deliveries += after.sum(sent) - before.sum(sent)
	for _, r := range t.readers {
		t.sum.received[r.name] += after.figures[r.name][received] - before.figures[r.name][received]
	}
	t.latest = after
	return nil
}

// awaitComment returns when more comments than so many have been published: figures for each comment need one. It asks the Comment
// API alone, whose processor time is not counted.
func (t *trial) awaitComment(ctx context.Context, before float64) error {
	for began := time.Now(); ; {
		switch comment, err := t.comment.Metrics(ctx); {
		case err != nil:
			return err
		case comment[published] > before:
			return nil
		case time.Since(began) > silenceLimit:
			return fmt.Errorf("no comment was published in %s", silenceLimit)
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// conclude has the viewers leave, and computes the figures.
func (t *trial) conclude(ctx context.Context) error {
	last, err := t.viewers.leave(ctx)
	if err != nil {
		return err
	}
	f, sum := &t.fleet, &t.sum
	f.Verification, f.LatencyMillis = last.Verification, last.LatencyMillis
	f.ReconnectsPerSecond = float64(last.Reconnects-t.before) / sum.seconds
	f.SentOn = t.latest.sum(redirects) / float64(last.FirstEventMillis.Count)
	f.CPU = CPU{
		Readers: micros(sum.used.readers) / sum.deliveries, Proxy: micros(sum.used.proxy) / sum.deliveries, Redis: micros(sum.used.redis) / sum.deliveries,
	}
	f.CommentsPerSecond, f.DeliveriesPerSecond = sum.published/sum.seconds, sum.deliveries/sum.seconds
	var share, in, held []float64
	all := 0.0
	for _, r := range t.readers {
		of := t.latest.figures[r.name]
		share = append(share, of[topics]/float64(t.Videos))
		held = append(held, of[streams])
		in = append(in, sum.received[r.name]/sum.seconds)
		all += sum.received[r.name]
	}
	f.CopiesPerComment = all / sum.published
	f.Share, f.MessagesIn, f.Viewers = simulate.SpreadOf(share), simulate.SpreadOf(in), simulate.SpreadOf(held)
	f.Busiest = f.Viewers.Max / f.Viewers.Mean
	return nil
}

// close stops everything of the trial at once.
func (t *trial) close() {
	if t.viewers != nil {
		t.viewers.drop()
	}
	if t.system != nil {
		t.system.close()
	}
}

// counts are the figures of a system at one moment.
type counts struct {
	figures
	published float64
}

func (s *system) count(ctx context.Context) (c counts, err error) {
	if c.figures, err = s.read(ctx); err != nil {
		return c, err
	}
	comment, err := s.comment.Metrics(ctx)
	c.published = comment[published]
	return c, err
}

// used is the processor time that the parts of a system have used since their start.
type used struct{ readers, proxy, redis time.Duration }

func (s *system) used() (u used, err error) {
	for _, r := range s.readers {
		cpu, err := r.CPU()
		if err != nil {
			return u, err
		}
		u.readers += cpu
	}
	if s.proxy != nil {
		if u.proxy, err = s.proxy.CPU(); err != nil {
			return u, err
		}
	}
	u.redis, err = process.CPU(s.redis.PID())
	return u, err
}

func micros(length time.Duration) float64 { return float64(length) / float64(time.Microsecond) }
