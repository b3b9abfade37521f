package bench

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
	fleetlist "github.com/livecomments/livecomments/services/shared/fleet"
)

// fleet has many readers announce themselves and read the list of all others, as they do every second, and nothing else.
func fleet(ctx context.Context, b *bench) (Result, error) {
	const readers = 200
	length := time.Duration(max(5, b.Seconds/3)) * time.Second
	result := Result{Title: fmt.Sprintf("the list of %d readers, written and read by each every second, for %s", readers, length)}
	s, err := b.newStage(ctx)
	if err != nil {
		return result, err
	}
	defer s.close()
	leave, err := s.announce(ctx, readers)
	defer leave()
	if err != nil {
		return result, err
	}
	client := redis.NewClient(&redis.Options{Addr: s.redis.Address})
	defer func() { _ = client.Close() }()
	before, err := traffic(ctx, client)
	if err != nil {
		return result, err
	}
	if err := pause(ctx, length); err != nil {
		return result, err
	}
	after, err := traffic(ctx, client)
	if err != nil {
		return result, err
	}
	seconds := length.Seconds()
	share := 100 * (after.cpu - before.cpu).Seconds() / seconds
	rounds := float64(after.rounds - before.rounds)
	out := float64(after.out-before.out) / seconds
	result.Facts = []string{
		fmt.Sprintf("%.0f announcements a second; each took Redis %.0f µs in all, %.0f µs of it in commands, and was answered with %.1f KB",
			rounds/seconds, 1e6*(after.cpu-before.cpu).Seconds()/rounds, float64(after.micros-before.micros)/rounds, out*seconds/rounds/1000),
		fmt.Sprintf("Redis sent %.2f MB and received %.2f MB a second", out/1e6, float64(after.in-before.in)/seconds/1e6),
	}
	result.Goals = []Goal{{Says: fmt.Sprintf("Redis used %.1f %% of its core (at most 5)", share), Met: share <= 5}}
	return result, nil
}

// announce has readers announce themselves, and returns when all know each other.
func (s *stage) announce(ctx context.Context, readers int) (leave func(), err error) {
	running, cancel := context.WithCancel(ctx)
	var tasks sync.WaitGroup
	var brokers []*broker.Broker
	leave = func() {
		cancel()
		tasks.Wait()
		for _, b := range brokers {
			_ = b.Close()
		}
	}
	var fleets []*fleetlist.Fleet
	for i := range readers {
		b, err := openBroker(s.redis.Address)
		if err != nil {
			return leave, err
		}
		brokers = append(brokers, b)
		state := func() fleetlist.State {
			return fleetlist.State{Viewers: 9000 + i, Capacity: 10_000, Arrived: 100_000}
		}
		f := fleetlist.New(b, zap.NewNop(), fmt.Sprintf("livecomments-reader-6d5f7c9b8-%05d:4000", i), fmt.Sprintf("http://10.244.%d.%d:4000", i/250, i%250),
			"bounded/0.25", state, func(*fleetlist.View) {})
		fleets = append(fleets, f)
		tasks.Go(func() { f.Run(running) })
	}
	err = poll(ctx, time.Minute, func() bool {
		for _, f := range fleets {
			if view := f.View(); view == nil || !view.Steady || len(view.Members) < readers {
				return false
			}
		}
		return true
	})
	return leave, err
}

// flow is what Redis has done since its start: processor time, announcements and the time of their commands, bytes.
type flow struct {
	cpu            time.Duration
	rounds, micros int64
	in, out        int64
}

func traffic(ctx context.Context, client *redis.Client) (f flow, err error) {
	info, err := client.InfoMap(ctx, "cpu", "stats", "commandstats").Result()
	if err != nil {
		return f, err
	}
	if f.cpu, err = redisCPU(info); err != nil {
		return f, err
	}
	var micros int64
	for command, calls := range map[string]*int64{"cmdstat_eval": &f.rounds, "cmdstat_hgetall": new(int64)} {
		if _, err := fmt.Sscanf(info["Commandstats"][command], "calls=%d,usec=%d,", calls, &micros); err != nil {
			return f, fmt.Errorf("INFO commandstats: %w", err)
		}
		f.micros += micros
	}
	_, err = fmt.Sscan(info["Stats"]["total_net_input_bytes"]+" "+info["Stats"]["total_net_output_bytes"], &f.in, &f.out)
	return f, err
}
