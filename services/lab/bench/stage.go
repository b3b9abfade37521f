package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// stage is what a scene runs with: a Redis, a reader, posters and viewers.
type stage struct {
	*bench
	dir     string // of Redis' data
	redis   *redisserver.Server
	reader  *process.Process
	poster  *poster
	posters []*poster // the poster, and others
	crowds  []*crowd.Crowd
}

// newStage starts a Redis, and a reader with these settings.
func (b *bench) newStage(ctx context.Context, settings ...string) (s *stage, err error) {
	s = &stage{bench: b}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.dir, err = os.MkdirTemp("", "livecomments-bench-"); err != nil {
		return s, err
	}
	if s.redis, err = redisserver.New(s.dir, "--loglevel", "warning"); err != nil {
		return s, err
	}
	if err = s.startRedis(ctx); err != nil {
		return s, err
	}
	if s.reader, err = b.startReader(ctx, s.redis.Address, settings...); err != nil {
		return s, err
	}
	s.poster, err = s.newPoster()
	return s, err
}

// startRedis starts Redis, with the data that it had acknowledged, and returns when it answers.
func (s *stage) startRedis(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	return s.redis.Start(limited)
}

// newHotStage is newStage with viewers of the video that is posted to.
func (b *bench) newHotStage(ctx context.Context, viewers int, settings ...string) (*stage, *crowd.Crowd, error) {
	s, err := b.newStage(ctx, settings...)
	if err != nil {
		return s, nil, err
	}
	c, err := s.connect(ctx, s.reader, viewersOf(hotVideo, viewers))
	if err != nil {
		s.close()
	}
	return s, c, err
}

// newPoster makes a poster that is closed with the stage.
func (s *stage) newPoster() (*poster, error) {
	p, err := newPoster(s.redis.Address)
	if err == nil {
		s.posters = append(s.posters, p)
	}
	return p, err
}

// close disconnects viewers and posters, stops the processes and removes Redis' data.
func (s *stage) close() {
	for _, c := range s.crowds {
		c.Close()
	}
	for _, p := range s.posters {
		_ = p.broker.Close()
	}
	if s.reader != nil {
		s.reader.Kill()
	}
	if s.redis != nil {
		s.redis.Close()
	}
	_ = os.RemoveAll(s.dir)
}

// newCrowd makes a crowd of viewers of a process. It is closed with the stage.
func (s *stage) newCrowd(p *process.Process) (*crowd.Crowd, error) {
	c, err := crowd.New(p.Address)
	if err == nil {
		s.crowds = append(s.crowds, c)
	}
	return c, err
}

const (
	// connectAtOnce is how many viewers connect at a time where connecting is not what is measured.
	connectAtOnce = 256
	// connectTimeout bounds how long connecting may take.
	connectTimeout = 2 * time.Minute
)

// connect makes a crowd of viewers, and returns when all have their streams.
func (s *stage) connect(ctx context.Context, p *process.Process, viewers []crowd.Viewer) (*crowd.Crowd, error) {
	c, err := s.newCrowd(p)
	if err != nil {
		return nil, err
	}
	return c, connectAll(ctx, c, connectAtOnce, viewers)
}

// connectAll adds viewers to a crowd, and returns when all have their streams.
func connectAll(ctx context.Context, c *crowd.Crowd, atOnce int, viewers []crowd.Viewer) error {
	before := c.Figures()
	if err := c.Connect(atOnce, viewers...); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var f crowd.Figures
	err := c.Await(limited, func(now crowd.Figures) bool {
		f = now
		return f.Connected-before.Connected == len(viewers) || f.Failed > before.Failed || f.Refused > before.Refused
	})
	if err != nil || f.Connected-before.Connected != len(viewers) {
		return fmt.Errorf("of %d viewers %d have a stream, %d were refused, %d failed",
			len(viewers), f.Connected-before.Connected, f.Refused, f.Failed)
	}
	return nil
}

// viewersOf is n viewers of one video.
func viewersOf(video string, n int) []crowd.Viewer {
	return slices.Repeat([]crowd.Viewer{{Video: video}}, n)
}

// viewersPerVideo is how many viewers a video has where a scene has many videos: 2,000,000 viewers of 90,000 streams.
const viewersPerVideo = 22

// viewersOfManyVideos is n viewers, 22 viewers per video.
func viewersOfManyVideos(n int) []crowd.Viewer {
	viewers := make([]crowd.Viewer, n)
	for i := range viewers {
		viewers[i].Video = fmt.Sprintf("video-%d", i/viewersPerVideo)
	}
	return viewers
}
