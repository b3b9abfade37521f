package bench

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/livecomments/livecomments/services/lab/bench/crowd"
)

// stage is what a scene plays on: a Redis, a reader, and whoever posts.
type stage struct {
	*bench
	redisAddress, dir string
	redis, reader     *process
	poster            *poster
	posters           []*poster // the poster, and others
	crowds            []*crowd.Crowd
}

func (b *bench) set(ctx context.Context, settings ...string) (s *stage, err error) {
	s = &stage{bench: b}
	defer func() {
		if err != nil {
			s.clear()
		}
	}()
	if s.redisAddress, err = freeAddress(); err != nil {
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "livecomments-bench-"); err != nil {
		return s, err
	}
	if s.redis, err = b.startRedis(ctx, s.redisAddress, s.dir); err != nil {
		return s, err
	}
	if s.reader, err = b.startReader(ctx, s.redisAddress, settings...); err != nil {
		return s, err
	}
	s.poster, err = s.hire()
	return s, err
}

// setHot is set, with viewers of the video that is posted to.
func (b *bench) setHot(ctx context.Context, viewers int, settings ...string) (*stage, *crowd.Crowd, error) {
	s, err := b.set(ctx, settings...)
	if err != nil {
		return s, nil, err
	}
	c, err := s.seat(ctx, s.reader, audience(viewers, crowd.Viewer{Video: hotVideo}))
	if err != nil {
		s.clear()
	}
	return s, c, err
}

// hire makes another poster.
func (s *stage) hire() (*poster, error) {
	p, err := newPoster(s.redisAddress)
	if err == nil {
		s.posters = append(s.posters, p)
	}
	return p, err
}

// clear takes everything away.
func (s *stage) clear() {
	for _, c := range s.crowds {
		c.Close()
	}
	for _, p := range s.posters {
		_ = p.broker.Close()
	}
	for _, p := range []*process{s.reader, s.redis} {
		if p != nil {
			p.kill()
		}
	}
	_ = os.RemoveAll(s.dir)
}

// gather makes a crowd for a process; clear has it leave.
func (s *stage) gather(p *process) (*crowd.Crowd, error) {
	c, err := crowd.New(p.address)
	if err == nil {
		s.crowds = append(s.crowds, c)
	}
	return c, err
}

const (
	// orderly is how many viewers connect at a time where connecting is not what is measured.
	orderly = 256
	// patience is how long connecting may take.
	patience = 2 * time.Minute
)

// seat makes a crowd of viewers who all have their streams.
func (s *stage) seat(ctx context.Context, p *process, viewers []crowd.Viewer) (*crowd.Crowd, error) {
	c, err := s.gather(p)
	if err != nil {
		return nil, err
	}
	return c, join(ctx, c, orderly, viewers)
}

// join returns when all of viewers have their streams.
func join(ctx context.Context, c *crowd.Crowd, atOnce int, viewers []crowd.Viewer) error {
	before := c.Figures()
	if err := c.Connect(atOnce, viewers...); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var f crowd.Figures
	err := c.Await(limited, func(now crowd.Figures) bool {
		f = now
		return f.Connected-before.Connected == len(viewers) || f.Failed > before.Failed || f.Refused > before.Refused
	})
	if err != nil || f.Connected-before.Connected != len(viewers) {
		return fmt.Errorf("of %d viewers %d have a stream, %d were refused, %d failed", len(viewers), f.Connected-before.Connected, f.Refused, f.Failed)
	}
	return nil
}

// audience is viewers of one video.
func audience(n int, viewer crowd.Viewer) []crowd.Viewer {
	viewers := make([]crowd.Viewer, n)
	for i := range viewers {
		viewers[i] = viewer
	}
	return viewers
}

// scattered is viewers of as many videos as would have so many viewers in life.
func scattered(n int) []crowd.Viewer {
	const each = 22
	viewers := make([]crowd.Viewer, n)
	for i := range viewers {
		viewers[i].Video = fmt.Sprintf("video-%d", i/each)
	}
	return viewers
}
