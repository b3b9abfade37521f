package api

import (
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/livecomments/livecomments/services/shared/statistics"
)

// countedVideos bounds the videos whose comments are counted one by one; anybody can invent a video id, and the ones
// commented on longest ago are forgotten first. The total forgets nothing.
const countedVideos = 200_000

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
func (c *counts) report() statistics.CommentReport {
	c.mu.Lock()
	total, all := c.comments, make(map[string]uint64, c.byVideo.Len())
	for _, video := range c.byVideo.Keys() {
		all[video], _ = c.byVideo.Peek(video)
	}
	c.mu.Unlock()
	return statistics.CommentReport{TotalComments: total, CommentedVideos: len(all), CommentsByVideo: statistics.Top(all)}
}
