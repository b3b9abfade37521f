package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/reader/feed"
)

// check has many quiet videos, so that nothing is left to do but to check that nothing is missing.
func check(ctx context.Context, b *bench) (Result, error) {
	const videos, rounds = 20_000, 4
	length := rounds * feed.DefaultCheckInterval
	result := Result{Title: fmt.Sprintf("%d quiet videos of one reader, each compared with its history every %s, for %s", videos, feed.DefaultCheckInterval, length)}
	s, err := b.newStage(ctx, lingerSetting)
	if err != nil {
		return result, err
	}
	defer s.close()
	if err := s.connectAndLeave(ctx, viewerOfEach(0, videos)); err != nil {
		return result, err
	}
	if err := s.awaitCaughtUp(ctx, videos); err != nil {
		return result, err
	}
	if err := s.postHistories(ctx, viewerOfEach(0, videos)); err != nil {
		return result, err
	}
	client := redis.NewClient(&redis.Options{Addr: s.redis.Address})
	defer func() { _ = client.Close() }()
	before, err := usage(ctx, client, s.reader)
	if err != nil {
		return result, err
	}
	if err := pause(ctx, length); err != nil {
		return result, err
	}
	after, err := usage(ctx, client, s.reader)
	if err != nil {
		return result, err
	}
	commands, micros := after.commands-before.commands, after.micros-before.micros
	share := func(used time.Duration) float64 { return 100 * used.Seconds() / length.Seconds() }
	redisShare, readerShare := share(after.redis-before.redis), share(after.reader-before.reader)
	result.Facts = []string{
		fmt.Sprintf("%d commands took Redis %.1f ms, %.2f µs a video", commands, float64(micros)/1000, float64(micros)/(rounds*videos)),
		fmt.Sprintf("processor time for everything: Redis %.0f ms, %.2f %% of a core; reader %.0f ms, %.2f %% of a core",
			(after.redis-before.redis).Seconds()*1000, redisShare, (after.reader-before.reader).Seconds()*1000, readerShare),
	}
	result.Goals = []Goal{
		{Says: fmt.Sprintf("the longest that Redis did nothing else was %.2f ms on average (at most 2)", float64(micros)/1000/float64(max(1, commands))), Met: micros <= 2000*commands},
		{Says: fmt.Sprintf("Redis and the reader together used %.2f %% of a core (at most 2)", redisShare+readerShare), Met: redisShare+readerShare <= 2},
	}
	return result, nil
}

// used is what Redis and a reader have used since their start.
type used struct {
	redis, reader    time.Duration
	commands, micros int64 // those that ask for heads, and the time that Redis took for them
}

func usage(ctx context.Context, client *redis.Client, reader *process.Process) (u used, err error) {
	info, err := client.InfoMap(ctx, "cpu", "commandstats").Result()
	if err != nil {
		return u, err
	}
	if u.redis, err = redisCPU(info); err != nil {
		return u, err
	}
	if _, err := fmt.Sscanf(info["Commandstats"]["cmdstat_mget"], "calls=%d,usec=%d,", &u.commands, &u.micros); err != nil {
		return u, fmt.Errorf("INFO commandstats: %w", err)
	}
	u.reader, err = reader.CPU()
	return u, err
}

// redisCPU is the processor time that Redis has used, by what INFO says.
func redisCPU(info map[string]map[string]string) (time.Duration, error) {
	var system, user float64
	if _, err := fmt.Sscanf(info["CPU"]["used_cpu_sys"]+" "+info["CPU"]["used_cpu_user"], "%f %f", &system, &user); err != nil {
		return 0, fmt.Errorf("INFO cpu: %w", err)
	}
	return time.Duration((system + user) * float64(time.Second)), nil
}
