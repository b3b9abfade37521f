package million

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/placement"
)

// The readers' figures.
const (
	openStreams  = "livecomments_reader_connections"
	subscribed   = "livecomments_reader_subscribed_topics"
	unconfirmed  = "livecomments_reader_unconfirmed_topics"
	catchingUp   = "livecomments_reader_catching_up_topics"
	received     = "livecomments_reader_messages_received_total"
	fleetReaders = "livecomments_reader_fleet_readers"
	misplaced    = "livecomments_reader_misplaced_streams"
	moved        = "livecomments_reader_streams_ended_total moved"
)

// measure has the viewers watch under one routing.
func (c *Command) measure(ctx context.Context, routing placement.Name) (*Result, error) {
	before, err := sampleMemory()
	if err != nil {
		return nil, err
	}
	c.say("%s: starting %d readers and %d crowds", routing, c.Readers, c.crowds)
	s, err := c.newStage(ctx, routing)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.awaitFleet(ctx); err != nil {
		return nil, err
	}
	result := &Result{Routing: routing}
	if err := s.fill(ctx, result); err != nil {
		return nil, err
	}
	if err := s.measureMemory(ctx, before, result); err != nil {
		return nil, err
	}
	if result.Quiet, err = s.measureQuiet(ctx); err != nil {
		return nil, err
	}
	seen, err := s.audience.Reset()
	if err != nil {
		return nil, err
	}
	result.connected(seen)
	if result.Connected < c.viewers {
		c.say("%s: %d of %d viewers have a stream, so no comments are posted", routing, result.Connected, c.viewers)
		return result, s.measureSubscriptions(ctx, result)
	}
	return result, s.measureDelivery(ctx, result)
}

// fill has the viewers come, and returns when all are where they belong.
func (s *stage) fill(ctx context.Context, result *Result) error {
	before, err := s.used(ctx)
	if err != nil {
		return err
	}
	if err := s.connect(ctx); err != nil {
		return err
	}
	result.ConnectSeconds = time.Since(before.at).Seconds()
	if err := s.settle(ctx, result); err != nil {
		return err
	}
	after, err := s.used(ctx)
	result.ConnectMicros = micros(after.readers+after.redis-before.readers-before.redis, s.viewers)
	return err
}

// awaitFleet returns when every reader knows all of them.
func (s *stage) awaitFleet(ctx context.Context) error {
	if s.routing == placement.Random {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		known, err := s.sum(limited, fleetReaders)
		if err == nil && int(known) == s.Readers*s.Readers {
			return nil
		}
		if err := pause(limited, 250*time.Millisecond); err != nil {
			return fmt.Errorf("the readers do not know each other: of %d they know %.1f on average", s.Readers, known/float64(s.Readers))
		}
	}
}

// sum is the sum over the readers of all of these figures.
func (s *stage) sum(ctx context.Context, names ...string) (sum float64, err error) {
	figures, err := s.scrape(ctx)
	for _, reader := range figures {
		for _, name := range names {
			sum += reader[name]
		}
	}
	return sum, err
}

// settle returns when every stream is where it belongs, and every reader has what its viewers watch and nothing else; or when
// that comes no nearer.
func (s *stage) settle(ctx context.Context, result *Result) error {
	const every = 2 * time.Second
	began := time.Now()
	fewest, fell, told := -1.0, began, began
	for {
		f, err := s.audience.Figures()
		if err != nil {
			return err
		}
		elsewhere, err := s.sum(ctx, misplaced, unconfirmed, catchingUp)
		if err != nil {
			return err
		}
		now, left := time.Now(), elsewhere+float64(s.viewers-f.Connected)
		if fewest < 0 || left < fewest {
			fewest, fell = left, now
		}
		if left == 0 || now.Sub(fell) > patience {
			result.SettleSeconds, result.Misplaced = now.Sub(began).Seconds(), int(elsewhere)
			// LINGER is over for what was left by the last to move.
			return pause(ctx, every)
		}
		if now.Sub(told) >= tellEvery {
			told = now
			s.say("%s: after %.0f s %.0f streams belong elsewhere or wait", s.routing, now.Sub(began).Seconds(), left)
		}
		if err := pause(ctx, every); err != nil {
			return err
		}
	}
}

// measureMemory measures what everything takes that was not there before.
func (s *stage) measureMemory(ctx context.Context, before sample, result *Result) error {
	now, err := sampleMemory()
	if err != nil {
		return err
	}
	m := Memory{Kernel: now.kernel - before.kernel, Buffers: now.buffers, Available: now.available}
	if m.Readers, err = total(s.readers, (*process.Process).Private); err != nil {
		return err
	}
	if m.Viewers, err = total(s.audience.Processes(), (*process.Process).Private); err != nil {
		return err
	}
	info, err := s.client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return err
	}
	if m.Redis, err = strconv.Atoi(info["Memory"]["used_memory_rss"]); err != nil {
		return fmt.Errorf("INFO memory: %w", err)
	}
	m.All = m.Readers + m.Viewers + m.Redis + m.Kernel + m.Buffers
	result.Memory = m
	return nil
}

// total sums up a figure of processes.
func total[N int | time.Duration](processes []*process.Process, of func(*process.Process) (N, error)) (sum N, err error) {
	for _, p := range processes {
		n, err := of(p)
		if err != nil {
			return sum, err
		}
		sum += n
	}
	return sum, nil
}

// used is the processor time that the readers, Redis and the viewers have used.
type used struct {
	at                      time.Time
	readers, redis, viewers time.Duration
}

func (s *stage) used(ctx context.Context) (u used, err error) {
	u.at = time.Now()
	info, err := s.client.InfoMap(ctx, "server").Result()
	if err != nil {
		return u, err
	}
	pid, err := strconv.Atoi(info["Server"]["process_id"])
	if err != nil {
		return u, fmt.Errorf("INFO server: %w", err)
	}
	if u.redis, err = process.CPU(pid); err != nil {
		return u, err
	}
	if u.readers, err = total(s.readers, (*process.Process).CPU); err != nil {
		return u, err
	}
	u.viewers, err = total(s.audience.Processes(), (*process.Process).CPU)
	return u, err
}

// measureQuiet measures what the machine does while nobody comments.
func (s *stage) measureQuiet(ctx context.Context) (Quiet, error) {
	before, err := s.used(ctx)
	if err != nil {
		return Quiet{}, err
	}
	if err := pause(ctx, s.Quiet); err != nil {
		return Quiet{}, err
	}
	after, err := s.used(ctx)
	seconds := after.at.Sub(before.at).Seconds()
	return Quiet{
		ReadersCores: (after.readers - before.readers).Seconds() / seconds,
		RedisCores:   (after.redis - before.redis).Seconds() / seconds,
	}, err
}

// measureSubscriptions takes what each reader holds.
func (s *stage) measureSubscriptions(ctx context.Context, result *Result) error {
	figures, err := s.scrape(ctx)
	if err != nil {
		return err
	}
	var streams, shares []float64
	for _, reader := range figures {
		streams = append(streams, reader[openStreams])
		shares = append(shares, reader[subscribed]/float64(s.videos))
		result.Moved += int(reader[moved])
	}
	result.PerReader, result.Share = spread(streams), spread(shares)
	return nil
}

// measureDelivery posts to every video, and measures what comes of it.
func (s *stage) measureDelivery(ctx context.Context, result *Result) error {
	if err := s.measureSubscriptions(ctx, result); err != nil {
		return err
	}
	receivedBefore, err := s.sum(ctx, received)
	if err != nil {
		return err
	}
	before, err := s.used(ctx)
	if err != nil {
		return err
	}
	result.Comments = rounds * s.videos
	want := rounds * s.viewers
	s.say("%s: posting %d comments, %d a second", s.routing, result.Comments, s.Rate)
	posting, posts := errgroup.WithContext(ctx)
	posting.Go(func() error { return s.post(posts) })
	posting.Go(func() error {
		arrived := func(f crowd.Figures) int { return int(f.Arrived) } //nolint:gosec // millions
		return s.await(posts, "deliveries have arrived", want, arrived)
	})
	if err := posting.Wait(); err != nil {
		return err
	}
	after, err := s.used(ctx)
	if err != nil {
		return err
	}
	seen, err := s.audience.Reset()
	if err != nil {
		return err
	}
	receivedAfter, err := s.sum(ctx, received)
	if err != nil {
		return err
	}
	result.Copies = (receivedAfter - receivedBefore) / float64(result.Comments)
	result.delivered(seen, want, before, after)
	return nil
}
