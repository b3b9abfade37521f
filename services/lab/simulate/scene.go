package simulate

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// Scene is what the readers have to serve.
type Scene struct {
	Videos  int `json:"videos"`
	Viewers int `json:"viewers"`
	// CommentsPerMinute is how many each viewer posts, on the video that it watches. So a video's comments are in proportion to
	// its viewers, and what it takes to deliver them to the square of that.
	CommentsPerMinute float64 `json:"commentsPerMinute"`
	Seed              uint64  `json:"seed"`
}

// commentsPerSecond is the rate of the whole.
func (s *Scene) commentsPerSecond() float64 { return float64(s.Viewers) * s.CommentsPerMinute / 60 }

// audience is a scene under one distribution of popularity: who watches what, in the order in which they come.
type audience struct {
	Scene
	distribution popularity.Distribution
	sizes        []int // viewers by video
	videos       []placement.Video
	// arrivals has the video of each viewer, as an index.
	arrivals []int32
}

func newAudience(scene Scene, distribution popularity.Distribution) (*audience, error) {
	sizes, err := popularity.Audiences(distribution, scene.Videos, scene.Viewers)
	if err != nil {
		return nil, err
	}
	a := &audience{Scene: scene, distribution: distribution, sizes: sizes, videos: make([]placement.Video, scene.Videos), arrivals: make([]int32, 0, scene.Viewers)}
	for video, size := range sizes {
		a.videos[video] = placement.VideoOf(fmt.Sprintf("video%d", video+1))
		a.arrivals = append(a.arrivals, slices.Repeat([]int32{int32(video)}, size)...)
	}
	random := rand.New(rand.NewPCG(scene.Seed, uint64(len(distribution))))
	random.Shuffle(len(a.arrivals), func(i, j int) { a.arrivals[i], a.arrivals[j] = a.arrivals[j], a.arrivals[i] })
	return a, nil
}
