package million

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/livecomments/livecomments/services/lab/crowd"
	"github.com/livecomments/livecomments/services/lab/million/audience"
	"github.com/livecomments/livecomments/services/shared/comment"
)

const (
	// posters post at the same time. Each has videos of its own, whose comments it numbers.
	posters = 4
	// textLength is the length of a usual comment's text, in characters.
	textLength = 60
)

// post posts to all videos in turn, as the Comment API does, evenly in time.
func (s *stage) post(ctx context.Context) error {
	posting, ctx := errgroup.WithContext(ctx)
	began := time.Now()
	for poster := range posters {
		posting.Go(func() error {
			for round := range rounds {
				for video := poster; video < s.videos; video += posters {
					turn := round*s.videos + video
					if err := pause(ctx, time.Until(began.Add(time.Duration(turn)*time.Second/time.Duration(s.Rate)))); err != nil {
						return err
					}
					if err := s.postOne(ctx, video, round+1); err != nil {
						return err
					}
				}
			}
			return nil
		})
	}
	return posting.Wait()
}

func (s *stage) postOne(ctx context.Context, video, number int) error {
	now := time.Now()
	text := crowd.Text(uint64(number), now, textLength) //nolint:gosec // from 1 on
	c := comment.Comment{UserID: "poster", VideoID: audience.Video(video), Text: text, Timestamp: now.UTC()}
	_, err := s.broker.Publish(ctx, c)
	return err
}
