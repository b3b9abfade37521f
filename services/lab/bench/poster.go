package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/client/crowd"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/comment"
)

// remark is the length of a comment's text, in characters.
const remark = 60

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
	now := time.Now()
	_, err := p.broker.Publish(ctx, comment.Comment{
		UserID: "poster", VideoID: video, Text: crowd.Text(p.posted[video]+1, now, length), Timestamp: now.UTC(),
	})
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
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Until(next)):
		}
		next = next.Add(o.every)
		if err := p.post(ctx, hotVideo, o.length); err != nil {
			return err
		}
	}
	return nil
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
			for {
				for _, video := range c.own(i) {
					select {
					case <-c.stop:
						return
					case <-ticker.C:
					}
					if !c.post(ctx, i, video) {
						return
					}
				}
			}
		})
	}
}

// own is the videos to which one of the posters posts: nobody else may number their comments.
func (c *campaign) own(poster int) (videos []string) {
	for i := poster; i < len(c.videos); i += len(c.posters) {
		videos = append(videos, c.videos[i])
	}
	return videos
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
		c.tasks.Go(func() {
			for _, video := range c.own(i) {
				if !c.post(ctx, i, video) {
					return
				}
			}
		})
	}
	c.tasks.Wait()
	for _, p := range c.posters {
		for _, n := range p.posted {
			stored += n
		}
	}
	return stored, c.err
}
