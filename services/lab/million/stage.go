package million

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/million/audience"
	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/descriptor"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// stage is what the viewers of one routing watch.
type stage struct {
	*Command
	routing placement.Name

	dir      string // of Redis' data
	redis    *redisserver.Server
	client   *redis.Client
	broker   *broker.Broker
	ports    []*port.Reservation
	readers  []*process.Process
	audience *audience.Audience
}

// newStage starts a Redis, the readers, and crowds without viewers.
func (c *Command) newStage(ctx context.Context, routing placement.Name) (s *stage, err error) {
	s = &stage{Command: c, routing: routing}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "livecomments-million-"); err != nil {
		return s, err
	}
	if s.redis, err = redisserver.New(s.dir, "--loglevel", "warning", "--appendfsync", "everysec"); err != nil {
		return s, err
	}
	if err = s.redis.Start(ctx); err != nil {
		return s, err
	}
	s.client = redis.NewClient(&redis.Options{Addr: s.redis.Address})
	settings := broker.Config{RedisURL: "redis://" + s.redis.Address, HistoryLength: 1000, HistoryTTL: time.Hour}
	if s.broker, err = broker.Open(settings, zap.NewNop()); err != nil {
		return s, err
	}
	if err = s.startReaders(ctx); err != nil {
		return s, err
	}
	s.audience, err = audience.Start(s.crowds, func() *exec.Cmd {
		return exec.Command(s.Lab, "crowd") //nolint:gosec // this program
	})
	return s, err
}

// startReaders starts the readers, and returns when all are ready.
func (s *stage) startReaders(ctx context.Context) error {
	s.readers, s.ports = make([]*process.Process, s.Readers), make([]*port.Reservation, s.Readers)
	starting, ctx := errgroup.WithContext(ctx)
	starting.SetLimit(2 * runtime.NumCPU())
	for i := range s.readers {
		var err error
		if s.ports[i], err = port.Reserve(); err != nil {
			return errors.Join(err, starting.Wait())
		}
		starting.Go(func() (err error) {
			s.readers[i], err = process.Serve(ctx, s.ports[i], s.Reader, s.settings(i)...)
			return err
		})
	}
	return starting.Wait()
}

// settings are those of a reader. Its name is that which the simulation gives it.
func (s *stage) settings(reader int) []string {
	return []string{
		fmt.Sprint("INSTANCE_ID=reader-", reader+1), "REDIS_URL=redis://" + s.redis.Address, "STATISTICS_API_URL=", "LOG_LEVEL=error",
		fmt.Sprint("MAX_CONNECTIONS=", descriptor.Share(min(descriptor.Limit(), descriptors)).Streams),
		"ROUTING=" + string(s.routing), "ADVERTISE_URL=http://" + s.ports[reader].Address(), fmt.Sprint("LOAD_BOUND=", s.LoadBound),
		// A heartbeat for each of a million viewers every 15 s would be 67,000 writes a second, more than all comments.
		"HEARTBEAT=1h", "STREAM_LIFETIME=0",
		// What viewers have left by moving must not count as a subscription for long.
		"LINGER=1s",
		// Two cores are busy for minutes; who waits must not be sent away for that.
		"SUBSCRIBE_TIMEOUT=1m",
	}
}

// close ends all processes at once, so that none of them works on what the others leave behind, and removes Redis' data.
func (s *stage) close() {
	var ending sync.WaitGroup
	for _, reader := range s.readers {
		if reader != nil {
			ending.Go(reader.Kill)
		}
	}
	if s.audience != nil {
		ending.Go(s.audience.Close)
	}
	ending.Wait()
	for _, reserved := range s.ports {
		if reserved != nil {
			reserved.Release()
		}
	}
	if s.broker != nil {
		_ = s.broker.Close()
		_ = s.client.Close()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// connectAtOnce is how many viewers connect at a time, of all crowds together.
const connectAtOnce = 512

const (
	// tellEvery is the time between two lines of progress.
	tellEvery = 5 * time.Second
	// patience is how long nothing may go forward before the scene goes on without.
	patience = time.Minute
)

// connect has all viewers come, and returns when each has a stream, or when no more are coming.
func (s *stage) connect(ctx context.Context) error {
	doors := make([]string, len(s.readers))
	for i, reader := range s.readers {
		doors[i] = reader.Address
	}
	err := s.audience.Connect(s.viewers, audience.Assembly{Doors: doors, Videos: s.videos, AtOnce: max(1, connectAtOnce/s.crowds)})
	if err != nil {
		return err
	}
	return s.await(ctx, "viewers have a stream", s.viewers, func(f crowd.Figures) int { return f.Connected })
}

// await returns when so many of what count counts are there, or when no more are coming. Meanwhile it says how many there are.
func (s *stage) await(ctx context.Context, what string, want int, count func(crowd.Figures) int) error {
	began := time.Now()
	most, grew, told := -1, began, began
	for {
		f, err := s.audience.Figures()
		if err != nil {
			return err
		}
		now, have := time.Now(), count(f)
		if have > most {
			most, grew = have, now
		}
		if now.Sub(told) >= tellEvery || have >= want {
			told = now
			s.say("%s: after %.0f s %d of %d %s", s.routing, now.Sub(began).Seconds(), have, want, what)
		}
		if have >= want || now.Sub(grew) > patience {
			return nil
		}
		if err := pause(ctx, 250*time.Millisecond); err != nil {
			return err
		}
	}
}

// scrape asks every reader for its figures.
func (s *stage) scrape(ctx context.Context) ([]map[string]float64, error) {
	figures := make([]map[string]float64, len(s.readers))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(runtime.NumCPU())
	for i, reader := range s.readers {
		asking.Go(func() (err error) {
			figures[i], err = reader.Metrics(ctx)
			return err
		})
	}
	return figures, asking.Wait()
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}
