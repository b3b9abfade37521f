package bench

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/livecomments/livecomments/services/lab/bench/crowd"
)

const (
	// spare is the descriptors that a process needs for other things than viewers.
	spare = 200
	// lingering has a reader keep a video without viewers for the length of a scene.
	lingering = "LINGER=1h"
	// outage is how long Redis is gone.
	outage = 2 * time.Second
)

// channel is a viewer for each of some videos.
func channel(from, to int) []crowd.Viewer {
	viewers := make([]crowd.Viewer, to-from)
	for i := range viewers {
		viewers[i].Video = fmt.Sprintf("channel-%d", from+i)
	}
	return viewers
}

// seats is how many viewers a process can have.
func seats() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(limit.Max, 1<<20)) - spare, nil
}

// channels is as many videos as viewers, and a Redis that is killed under posts and comes back.
func channels(ctx context.Context, b *bench) (Result, error) {
	const videos, rate = 20_000, 400
	result := Result{Title: fmt.Sprintf("%d videos with a viewer each, %d comments a second among them; Redis is killed, and started again %s later", videos, rate, outage)}
	s, err := b.set(ctx, lingering)
	if err != nil {
		return result, err
	}
	defer s.clear()
	most, err := seats()
	if err != nil {
		return result, err
	}
	watched := min(videos, most)
	began := time.Now()
	if err := s.visit(ctx, channel(watched, videos)); err != nil {
		return result, err
	}
	c, err := s.seat(ctx, s.reader, channel(0, watched))
	if err != nil {
		return result, err
	}
	subscribing := time.Since(began)
	if err := s.settled(ctx, videos); err != nil {
		return result, err
	}
	posting, err := s.campaign(channel(0, watched))
	if err != nil {
		return result, err
	}
	if _, err := posting.round(ctx); err != nil {
		return result, err
	}
	posting.begin(ctx, rate)
	missing, back, err := s.restartRedis(ctx, videos)
	posting.end()
	if err != nil {
		return result, err
	}
	// A viewer sees by the number of the next comment whether it has missed one.
	stored, err := posting.round(ctx)
	if err != nil {
		return result, err
	}
	f := arrivals(ctx, c, stored)
	if watched < videos {
		result.Facts = []string{fmt.Sprintf("a process may not have %d descriptors here: %d viewers came first and left again, and %s keeps their videos", videos, videos-watched, lingering)}
	}
	result.Facts = append(result.Facts,
		fmt.Sprintf("while Redis was gone, the reader said of %d videos that it receives nothing", missing),
		fmt.Sprintf("%d comments were stored, the last of each video after all were back; %d tries to post failed", stored, posting.failures),
		fmt.Sprintf("%d arrived: %d missing, %d duplicate, %d out of order, %d announced as lost", f.Arrived, f.Missing, f.Duplicates, f.Misordered, f.Gaps))
	result.Goals = []Goal{
		{Says: fmt.Sprintf("all %d viewers had come, their videos subscribed to, after %.1f s (at most 5)", videos, subscribing.Seconds()), Met: subscribing <= 5*time.Second},
		comeBack(videos, back),
		{Says: "nothing that was answered was lost, came twice or out of order", Met: f.Arrived == stored && f.Wrong() == 0, Delivery: true},
	}
	return result, nil
}

func comeBack(videos int, took time.Duration) Goal {
	return Goal{Says: fmt.Sprintf("all %d videos were caught up with %.1f s after Redis was started again (at most 10)", videos, took.Seconds()), Met: took <= 10*time.Second}
}

// resubscribe is a reader that every live video of a large system has come to, and one video with many viewers.
func resubscribe(ctx context.Context, b *bench) (Result, error) {
	const videos, viewers, rate, seconds = 90_000, 1000, 20, 10
	result := Result{Title: fmt.Sprintf("%d videos of one reader, and %d viewers of one more, which gets %d comments a second; Redis is killed and is back after %s", videos, viewers, rate, outage)}
	s, err := b.set(ctx, lingering)
	if err != nil {
		return result, err
	}
	defer s.clear()
	if err := s.visit(ctx, channel(0, videos)); err != nil {
		return result, err
	}
	c, err := s.seat(ctx, s.reader, audience(viewers, crowd.Viewer{Video: hotVideo}))
	if err != nil {
		return result, err
	}
	if err := s.settled(ctx, videos+1); err != nil {
		return result, err
	}
	histories, err := s.campaign(channel(0, videos))
	if err != nil {
		return result, err
	}
	if _, err := histories.round(ctx); err != nil {
		return result, err
	}
	o := perSecond(rate, seconds, remark)
	load := func(of string, work func() error) (Load, error) {
		return measure(ctx, of, s.reader, c, viewers, o.comments, work)
	}
	quiet, err := load("before", func() error { return s.poster.obey(ctx, o) })
	if err != nil {
		return result, err
	}
	missing, err := s.killRedis(ctx)
	if err != nil {
		return result, err
	}
	began, took := time.Now(), time.Duration(0)
	if err := s.reviveRedis(ctx); err != nil {
		return result, err
	}
	returning, err := load("Redis is back", func() error {
		return s.poster.obeyWhile(ctx, o, func() error {
			defer func() { took = time.Since(began) }()
			return s.settled(ctx, videos+1)
		})
	})
	if err != nil {
		return result, err
	}
	result.Loads = []Load{quiet, returning}
	result.Facts = []string{fmt.Sprintf("while Redis was gone, the reader said of %d videos that it receives nothing", missing)}
	result.Goals = []Goal{
		comeBack(videos+1, took),
		delivered(quiet, returning),
	}
	return result, nil
}

// visit has viewers come and leave again, as many at a time as there are seats.
func (s *stage) visit(ctx context.Context, viewers []crowd.Viewer) error {
	most, err := seats()
	if err != nil {
		return err
	}
	visit := func(viewers []crowd.Viewer) error {
		c, err := crowd.New(s.reader.address)
		if err != nil {
			return err
		}
		defer c.Close()
		return join(ctx, c, orderly, viewers)
	}
	for wave := range slices.Chunk(viewers, min(most, maxConnections/2)) {
		if err := visit(wave); err != nil {
			return err
		}
	}
	return nil
}

const (
	connected   = "livecomments_reader_redis_connected"
	unconfirmed = "livecomments_reader_unconfirmed_topics"
	catchingUp  = "livecomments_reader_catching_up_topics"
)

// settled returns when the reader is subscribed to so many videos and has caught up with all of them.
func (s *stage) settled(ctx context.Context, videos int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		figures, err := s.reader.metrics(ctx)
		if err == nil && figures[connected] == 1 && figures[unconfirmed] == 0 && figures[catchingUp] == 0 {
			if count, _, err := s.poster.broker.Topics(ctx, 0); err == nil && count == videos {
				return nil
			}
		}
		// Seldom, because the reader's answer takes time that it would have for its videos.
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("the reader does not settle: %.0f videos are unconfirmed, and it catches up with %.0f", figures[unconfirmed], figures[catchingUp])
		}
	}
}

// killRedis has Redis die and be gone for the outage. It returns of how many videos the reader then says that it receives
// nothing.
func (s *stage) killRedis(ctx context.Context) (missing int, err error) {
	s.redis.kill()
	if err := pause(ctx, outage); err != nil {
		return 0, err
	}
	figures, err := s.reader.metrics(ctx)
	return int(figures[unconfirmed]), err
}

// reviveRedis starts it again, with what it had acknowledged, and returns when it answers.
func (s *stage) reviveRedis(ctx context.Context) (err error) {
	s.redis, err = s.startRedis(ctx, s.redisAddress, s.dir)
	return err
}

// restartRedis is both under whoever posts. took is from the start to the last video that the reader has caught up with.
func (s *stage) restartRedis(ctx context.Context, videos int) (missing int, took time.Duration, err error) {
	const around = 2 * time.Second
	if err := pause(ctx, around); err != nil {
		return 0, 0, err
	}
	if missing, err = s.killRedis(ctx); err != nil {
		return missing, 0, err
	}
	began := time.Now()
	if err := s.reviveRedis(ctx); err != nil {
		return missing, 0, err
	}
	if err := s.settled(ctx, videos); err != nil {
		return missing, 0, err
	}
	took = time.Since(began)
	return missing, took, pause(ctx, around)
}
