package api

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// countedVideos bounds the videos whose comments are counted one by one, because anybody can invent a video id. The
// videos that were commented on longest ago are forgotten first. The total forgets nothing.
const countedVideos = 100_000

type counts struct {
	mu       sync.Mutex
	comments uint64
	byVideo  *simplelru.LRU[string, uint64]
}

func newCounts() *counts {
	byVideo, err := simplelru.NewLRU[string, uint64](countedVideos, nil)
	if err != nil {
		panic(err) // only for a size below 1
	}
	return &counts{byVideo: byVideo}
}

func (c *counts) add(video string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.comments++
	n, _ := c.byVideo.Get(video)
	c.byVideo.Add(video, n+1)
}

func (c *counts) total() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.comments
}

// report holds the total and the videos with the most comments.
func (c *counts) report() reports.CommentAPI {
	c.mu.Lock()
	total, videos, numbers := c.comments, c.byVideo.Keys(), c.byVideo.Values()
	c.mu.Unlock()
	// Without the lock: sorting takes a while, and posts must not wait for it.
	top := reports.Top(func(yield func(string, uint64) bool) {
		for i, video := range videos {
			if !yield(video, numbers[i]) {
				return
			}
		}
	})
	return reports.CommentAPI{TotalComments: total, CommentedVideos: len(videos), CommentsByVideo: top}
}
