package bench

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

const (
	// otherDescriptors is how many descriptors a process needs for other things than viewers.
	otherDescriptors = 200
	// lingerSetting has a reader stay subscribed to a video without viewers for the length of a scene.
	lingerSetting = "LINGER=1h"
	// outage is the time from Redis' kill to its start.
	outage = 2 * time.Second
)

// viewerOfEach is one viewer for each of the videos with the numbers from up to, but without, to.
func viewerOfEach(from, to int) []crowd.Viewer {
	viewers := make([]crowd.Viewer, to-from)
	for i := range viewers {
		viewers[i].Video = fmt.Sprintf("channel-%d", from+i)
	}
	return viewers
}

// maxViewers is how many viewers a process can have: its limit of descriptors, less those for other things.
func maxViewers() (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return int(min(limit.Max, 1<<20)) - otherDescriptors, nil
}

// channels has as many videos as viewers, and kills and restarts Redis while comments are posted.
func channels(ctx context.Context, b *bench) (Result, error) {
	const videos, rate = 20_000, 400
	result := Result{Title: fmt.Sprintf("%d videos with a viewer each, %d comments a second among them; Redis is killed, and started again %s later", videos, rate, outage)}
	s, err := b.newStage(ctx, lingerSetting)
	if err != nil {
		return result, err
	}
	defer s.close()
	most, err := maxViewers()
	if err != nil {
		return result, err
	}
	watched := min(videos, most)
	began := time.Now()
	if err := s.connectAndLeave(ctx, viewerOfEach(watched, videos)); err != nil {
		return result, err
	}
	c, err := s.connect(ctx, s.reader, viewerOfEach(0, watched))
	if err != nil {
		return result, err
	}
	subscribing := time.Since(began)
	if err := s.awaitCaughtUp(ctx, videos); err != nil {
		return result, err
	}
	posting, err := s.newPosterPool(viewerOfEach(0, watched))
	if err != nil {
		return result, err
	}
	if _, err := posting.postToEach(ctx); err != nil {
		return result, err
	}
	posting.start(ctx, rate)
	unconfirmedVideos, recovery, err := s.restartRedis(ctx, videos)
	posting.stop()
	if err != nil {
		return result, err
	}
	// Only the next comment of a video shows whether the one before was lost.
	stored, err := posting.postToEach(ctx)
	if err != nil {
		return result, err
	}
	f := awaitArrivals(ctx, c, stored)
	if watched < videos {
		result.Facts = []string{fmt.Sprintf("%d viewers connected first and left, and %s keeps their videos, because a process may have less than %d descriptors",
			videos-watched, lingerSetting, videos)}
	}
	result.Facts = append(result.Facts,
		fmt.Sprintf("while Redis was gone, the reader reported %d videos as unconfirmed", unconfirmedVideos),
		fmt.Sprintf("%d comments were stored, the last of each video after the recovery; %d attempts to post failed", stored, posting.failures),
		fmt.Sprintf("%d arrived: %d missing, %d duplicate, %d out of order, %d announced as lost", f.Arrived, f.Missing, f.Duplicates, f.Misordered, f.Gaps))
	result.Goals = []Goal{
		{Says: fmt.Sprintf("all %d viewers were connected, and their videos subscribed to, after %.1f s (at most 5)", videos, subscribing.Seconds()), Met: subscribing <= 5*time.Second},
		recoveryGoal(videos, recovery),
		{Says: "every comment that was acknowledged arrived, once and in order", Met: f.Arrived == stored && f.Wrong() == 0, Delivery: true},
	}
	return result, nil
}

// postHistories gives the videos of viewers a history of one comment each.
func (s *stage) postHistories(ctx context.Context, viewers []crowd.Viewer) error {
	posters, err := s.newPosterPool(viewers)
	if err != nil {
		return err
	}
	_, err = posters.postToEach(ctx)
	return err
}

// recoveryGoal is the goal that the reader caught up with all videos soon after Redis was started again.
func recoveryGoal(videos int, recovery time.Duration) Goal {
	return Goal{
		Says: fmt.Sprintf("all %d videos were caught up with %.1f s after Redis was started again (at most 10)", videos, recovery.Seconds()),
		Met:  recovery <= 10*time.Second,
	}
}

// resubscribe has a reader that is subscribed to every live video of a large system, and one video with many viewers.
func resubscribe(ctx context.Context, b *bench) (Result, error) {
	const videos, viewers, rate, seconds = 90_000, 1000, 20, 10
	result := Result{Title: fmt.Sprintf("%d videos on one reader, and %d viewers of one more, with %d comments a second; Redis is killed, and started again %s later", videos, viewers, rate, outage)}
	s, err := b.newStage(ctx, lingerSetting)
	if err != nil {
		return result, err
	}
	defer s.close()
	if err := s.connectAndLeave(ctx, viewerOfEach(0, videos)); err != nil {
		return result, err
	}
	c, err := s.connect(ctx, s.reader, viewersOf(hotVideo, viewers))
	if err != nil {
		return result, err
	}
	if err := s.awaitCaughtUp(ctx, videos+1); err != nil {
		return result, err
	}
	if err := s.postHistories(ctx, viewerOfEach(0, videos)); err != nil {
		return result, err
	}
	w := perSecond(rate, seconds, shortText)
	load := func(of string, work func() error) (Load, error) {
		return measure(ctx, of, s.reader, c, viewers, w.comments, work)
	}
	quiet, err := load("before", func() error { return s.poster.post(ctx, w) })
	if err != nil {
		return result, err
	}
	unconfirmedVideos, err := s.killRedis(ctx)
	if err != nil {
		return result, err
	}
	began, recovery := time.Now(), time.Duration(0)
	if err := s.startRedis(ctx); err != nil {
		return result, err
	}
	returning, err := load("Redis is back", func() error {
		return s.poster.postWhile(ctx, w, func() error {
			defer func() { recovery = time.Since(began) }()
			return s.awaitCaughtUp(ctx, videos+1)
		})
	})
	if err != nil {
		return result, err
	}
	result.Loads = []Load{quiet, returning}
	result.Facts = []string{fmt.Sprintf("while Redis was gone, the reader reported %d videos as unconfirmed", unconfirmedVideos)}
	result.Goals = []Goal{
		recoveryGoal(videos+1, recovery),
		deliveryGoal(quiet, returning),
	}
	return result, nil
}

// connectAndLeave has viewers connect and leave again, as many at a time as a process can have.
func (s *stage) connectAndLeave(ctx context.Context, viewers []crowd.Viewer) error {
	most, err := maxViewers()
	if err != nil {
		return err
	}
	for some := range slices.Chunk(viewers, min(most, maxConnections/2)) {
		if err := connectAndLeave(ctx, s.reader.Address, some); err != nil {
			return err
		}
	}
	return nil
}

func connectAndLeave(ctx context.Context, address string, viewers []crowd.Viewer) error {
	c, err := crowd.New(address)
	if err != nil {
		return err
	}
	defer c.Close()
	return connectAll(ctx, c, connectAtOnce, viewers)
}

const (
	connected   = "livecomments_reader_redis_connected"
	unconfirmed = "livecomments_reader_unconfirmed_topics"
	catchingUp  = "livecomments_reader_catching_up_topics"
)

// awaitCaughtUp returns when the reader is subscribed to so many videos and has caught up with all of them.
func (s *stage) awaitCaughtUp(ctx context.Context, videos int) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	for {
		figures, err := s.reader.Metrics(ctx)
		if err == nil && figures[connected] == 1 && figures[unconfirmed] == 0 && figures[catchingUp] == 0 {
			if count, _, err := s.poster.broker.Topics(ctx, 0); err == nil && count == videos {
				return nil
			}
		}
		// Not more often: each answer takes the reader's processor time.
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return fmt.Errorf("the reader does not catch up: %.0f videos are unconfirmed, and %.0f are not caught up with",
				figures[unconfirmed], figures[catchingUp])
		}
	}
}

// killRedis kills Redis and waits for the outage. It returns how many videos the reader then reports as unconfirmed.
func (s *stage) killRedis(ctx context.Context) (unconfirmedVideos int, err error) {
	s.redis.Kill()
	if err := pause(ctx, outage); err != nil {
		return 0, err
	}
	figures, err := s.reader.Metrics(ctx)
	return int(figures[unconfirmed]), err
}

// restartRedis kills Redis and starts it again while others post. recovery is the time from the start until the reader has
// caught up with all videos.
func (s *stage) restartRedis(ctx context.Context, videos int) (unconfirmedVideos int, recovery time.Duration, err error) {
	const around = 2 * time.Second
	if err := pause(ctx, around); err != nil {
		return 0, 0, err
	}
	if unconfirmedVideos, err = s.killRedis(ctx); err != nil {
		return unconfirmedVideos, 0, err
	}
	began := time.Now()
	if err := s.startRedis(ctx); err != nil {
		return unconfirmedVideos, 0, err
	}
	if err := s.awaitCaughtUp(ctx, videos); err != nil {
		return unconfirmedVideos, 0, err
	}
	recovery = time.Since(began)
	return unconfirmedVideos, recovery, pause(ctx, around)
}
