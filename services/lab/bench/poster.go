package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/lab/bench/crowd"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// remark is the length of a comment's text, in characters.
const remark = 60

// numbered is a comment that the crowd can judge, posted now.
func numbered(number uint64, video string, length int) comment.Comment {
	now := time.Now()
	return comment.Comment{UserID: "poster", VideoID: video, Text: crowd.Text(number, now, length), Timestamp: now.UTC()}
}

// poster posts to videos by way of the broker, as the Comment API does.
type poster struct {
	broker *broker.Broker
	posted map[string]uint64
}

func newPoster(redisAddress string) (*poster, error) {
	b, err := openBroker(redisAddress)
	return &poster{b, map[string]uint64{}}, err
}

func (p *poster) post(ctx context.Context, video string, length int) error {
	_, err := p.broker.Publish(ctx, numbered(p.posted[video]+1, video, length))
	if err == nil {
		p.posted[video]++
	}
	return err
}

// hotVideo is the one that is posted to.
const hotVideo = "hot"

// obey posts to it as ordered, evenly in time.
func (p *poster) obey(ctx context.Context, o order) error {
	for next := time.Now(); o.comments > 0; o.comments-- {
		if err := pause(ctx, time.Until(next)); err != nil {
			return err
		}
		next = next.Add(o.every)
		if err := p.post(ctx, hotVideo, o.length); err != nil {
			return err
		}
	}
	return nil
}

// obeyWhile posts as ordered while something else is done.
func (p *poster) obeyWhile(ctx context.Context, o order, something func() error) error {
	done := make(chan error, 1)
	go func() { done <- something() }()
	return errors.Join(p.obey(ctx, o), <-done)
}

// again is the time before what Redis did not do is asked for again.
const again = 20 * time.Millisecond

// persist posts to a video until the comment is stored. One whose answer was lost may be stored already: the history tells.
func (p *poster) persist(ctx context.Context, video string) (failures int, err error) {
	number := p.posted[video] + 1
	for p.posted[video] < number {
		if p.post(ctx, video, remark) == nil {
			break
		}
		failures++
		if err := pause(ctx, again); err != nil {
			return failures, err
		}
		if p.posted[video], err = p.stored(ctx, video); err != nil {
			return failures, err
		}
	}
	return failures, nil
}

// stored is the number of the newest comment in a video's history, asked for until Redis answers.
func (p *poster) stored(ctx context.Context, video string) (number uint64, err error) {
	for {
		pages, err := p.broker.History(ctx, broker.Query{VideoID: video, Last: 1})
		switch {
		case err != nil || pages[0].Err != nil:
			if err := pause(ctx, again); err != nil {
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

// campaign is several posters who post to many videos, whatever happens to Redis.
type campaign struct {
	posters []*poster
	videos  []string
	stop    chan struct{}
	tasks   sync.WaitGroup

	mu       sync.Mutex
	failures int
	err      error
}

// campaign makes one for the videos of viewers.
func (s *stage) campaign(viewers []crowd.Viewer) (*campaign, error) {
	const posters = 4
	c := &campaign{stop: make(chan struct{})}
	for _, viewer := range viewers {
		c.videos = append(c.videos, viewer.Video)
	}
	for range posters {
		p, err := s.hire()
		if err != nil {
			return nil, err
		}
		c.posters = append(c.posters, p)
	}
	return c, nil
}

// begin has the posters post to the videos in turn, so many comments a second in all.
func (c *campaign) begin(ctx context.Context, rate int) {
	for i := range c.posters {
		c.tasks.Go(func() {
			ticker := time.NewTicker(time.Second * time.Duration(len(c.posters)) / time.Duration(rate))
			defer ticker.Stop()
			turn := func() bool {
				select {
				case <-c.stop:
					return false
				case <-ticker.C:
					return true
				}
			}
			for c.postEach(ctx, i, turn) {
			}
		})
	}
}

// postEach has a poster post to each of its videos, whose comments nobody else may number, at each turn. It reports whether
// the poster came through.
func (c *campaign) postEach(ctx context.Context, poster int, turn func() bool) bool {
	for i := poster; i < len(c.videos); i += len(c.posters) {
		if !turn() || !c.post(ctx, poster, c.videos[i]) {
			return false
		}
	}
	return true
}

func (c *campaign) post(ctx context.Context, poster int, video string) bool {
	failures, err := c.posters[poster].persist(ctx, video)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures += failures
	if c.err == nil {
		c.err = err
	}
	return err == nil
}

// end stops the posting.
func (c *campaign) end() {
	close(c.stop)
	c.tasks.Wait()
}

// round posts once to every video, and returns how many comments are stored in all.
func (c *campaign) round(ctx context.Context) (stored uint64, err error) {
	for i := range c.posters {
		c.tasks.Go(func() { c.postEach(ctx, i, func() bool { return true }) })
	}
	c.tasks.Wait()
	for _, p := range c.posters {
		for _, n := range p.posted {
			stored += n
		}
	}
	return stored, c.err
}
