package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

const (
	// shortText is the length of a usual comment's text, in characters.
	shortText = 60
	// longText is a length of which a few hundred comments fill a socket's buffer.
	longText = 1000
	// hotVideo is the video that a workload posts to.
	hotVideo = "hot"
)

// newComment makes the comment of a video that has this number, as the crowd needs it, posted now.
func newComment(number uint64, video string, length int) comment.Comment {
	now := time.Now()
	return comment.Comment{UserID: "poster", VideoID: video, Text: crowd.Text(number, now, length), Timestamp: now.UTC()}
}

// poster posts to videos through the broker, as the Comment API does.
type poster struct {
	broker *broker.Broker
	posted map[string]uint64 // by video, the number of its newest comment
}

// workload is what a poster posts to a video, or the floor sends to its viewers.
type workload struct {
	video    string
	comments int
	every    time.Duration
	length   int // of a comment's text, in characters
}

// perSecond is a workload of hotVideo, of so many comments a second.
func perSecond(rate, seconds, length int) workload {
	return workload{hotVideo, rate * seconds, time.Second / time.Duration(rate), length}
}

func newPoster(redisAddress string) (*poster, error) {
	b, err := openBroker(redisAddress)
	return &poster{b, map[string]uint64{}}, err
}

func (p *poster) postOne(ctx context.Context, video string, length int) error {
	_, err := p.broker.Publish(ctx, newComment(p.posted[video]+1, video, length))
	if err == nil {
		p.posted[video]++
	}
	return err
}

// post posts a workload, evenly in time.
func (p *poster) post(ctx context.Context, w workload) error {
	for next := time.Now(); w.comments > 0; w.comments-- {
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
		next = next.Add(w.every)
		if err := p.postOne(ctx, w.video, w.length); err != nil {
			return err
		}
	}
	return nil
}

// postWhile posts a workload while other work is done.
func (p *poster) postWhile(ctx context.Context, w workload, other func() error) error {
	done := make(chan error, 1)
	go func() { done <- other() }()
	return errors.Join(p.post(ctx, w), <-done)
}

// retryDelay is the time between attempts while Redis is gone.
const retryDelay = 20 * time.Millisecond

// postUntilStored posts a comment to a video until it is stored. An attempt that failed may have stored it, which the history
// shows.
func (p *poster) postUntilStored(ctx context.Context, video string) (failures int, err error) {
	number := p.posted[video] + 1
	for p.posted[video] < number {
		if p.postOne(ctx, video, shortText) == nil {
			break
		}
		failures++
		if err := pause(ctx, retryDelay); err != nil {
			return failures, err
		}
		if p.posted[video], err = p.newestStored(ctx, video); err != nil {
			return failures, err
		}
	}
	return failures, nil
}

// newestStored is the number of the newest comment in a video's history. It asks until Redis answers.
func (p *poster) newestStored(ctx context.Context, video string) (number uint64, err error) {
	for {
		pages, err := p.broker.History(ctx, broker.Query{VideoID: video, Last: 1})
		switch {
		case err != nil || pages[0].Err != nil:
			if err := pause(ctx, retryDelay); err != nil {
				return 0, err
			}
		case len(pages[0].Messages) == 0:
			return 0, nil
		default:
			var c comment.Comment
			if err := json.Unmarshal([]byte(pages[0].Messages[0].Data), &c); err != nil {
				return 0, err
			}
			_, err := fmt.Sscan(c.Text, &number)
			return number, err
		}
	}
}

func pause(ctx context.Context, length time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(length):
		return nil
	}
}

// posterPool is several posters that post to many videos, also while Redis is gone for a time.
type posterPool struct {
	posters []*poster
	videos  []string
	done    chan struct{} // closed to stop
	tasks   sync.WaitGroup

	mu       sync.Mutex
	failures int
	err      error
}

// newPosterPool makes a pool that posts to the videos of viewers.
func (s *stage) newPosterPool(viewers []crowd.Viewer) (*posterPool, error) {
	const posters = 4
	pool := &posterPool{done: make(chan struct{})}
	for _, viewer := range viewers {
		pool.videos = append(pool.videos, viewer.Video)
	}
	for range posters {
		p, err := s.newPoster()
		if err != nil {
			return nil, err
		}
		pool.posters = append(pool.posters, p)
	}
	return pool, nil
}

// start has the posters post to the videos in turn, at rate comments a second in all, until stop.
func (p *posterPool) start(ctx context.Context, rate int) {
	for i := range p.posters {
		p.tasks.Go(func() {
			ticker := time.NewTicker(time.Second * time.Duration(len(p.posters)) / time.Duration(rate))
			defer ticker.Stop()
			turn := func() bool {
				select {
				case <-p.done:
					return false
				case <-ticker.C:
					return true
				}
			}
			for p.postEach(ctx, i, turn) {
			}
		})
	}
}

// postEach has a poster post to each of its videos, one each time that turn returns true. The other posters have other videos,
// because a video's comments are numbered by one. It reports whether all were posted to.
func (p *posterPool) postEach(ctx context.Context, poster int, turn func() bool) bool {
	for i := poster; i < len(p.videos); i += len(p.posters) {
		if !turn() || !p.post(ctx, poster, p.videos[i]) {
			return false
		}
	}
	return true
}

func (p *posterPool) post(ctx context.Context, poster int, video string) bool {
	failures, err := p.posters[poster].postUntilStored(ctx, video)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.failures += failures
	if p.err == nil {
		p.err = err
	}
	return err == nil
}

// stop stops what start has started.
func (p *posterPool) stop() {
	close(p.done)
	p.tasks.Wait()
}

// postToEach posts once to every video, and returns how many comments are stored in all.
func (p *posterPool) postToEach(ctx context.Context) (stored uint64, err error) {
	for i := range p.posters {
		p.tasks.Go(func() { p.postEach(ctx, i, func() bool { return true }) })
	}
	p.tasks.Wait()
	for _, poster := range p.posters {
		for _, n := range poster.posted {
			stored += n
		}
	}
	return stored, p.err
}
