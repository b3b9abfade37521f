package simulate

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"

	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// Scene is the load that the readers have to serve.
type Scene struct {
	Videos  int `json:"videos"`
	Viewers int `json:"viewers"`
	// CommentsPerMinute is the number of comments that each viewer posts, on the video that it watches. So a video's comments are
	// proportional to its viewers, and their deliveries to the square of its viewers.
	CommentsPerMinute float64 `json:"commentsPerMinute"`
	Seed              uint64  `json:"seed"`
}

// commentsPerSecond is the rate of all viewers together.
func (s *Scene) commentsPerSecond() float64 { return float64(s.Viewers) * s.CommentsPerMinute / 60 }

// audience has the viewers of a scene under one distribution of popularity, in the order of their arrival.
type audience struct {
	Scene
	distribution popularity.Distribution
	sizes        []int // viewers by video
	videos       []placement.Video
	// arrivals has the index of each viewer's video.
	arrivals []int32
}

// audiences yields the viewers of each video.
func (a *audience) audiences() iter.Seq2[placement.Video, int] {
	return func(yield func(placement.Video, int) bool) {
		for video, viewers := range a.sizes {
			if !yield(a.videos[video], viewers) {
				return
			}
		}
	}
}

func newAudience(scene Scene, distribution popularity.Distribution) (*audience, error) {
	sizes, err := popularity.Audiences(distribution, scene.Videos, scene.Viewers)
	if err != nil {
		return nil, err
	}
	a := &audience{
		Scene: scene, distribution: distribution, sizes: sizes,
		videos: make([]placement.Video, scene.Videos), arrivals: make([]int32, 0, scene.Viewers),
	}
	for video, size := range sizes {
		a.videos[video] = placement.VideoOf(fmt.Sprintf("video%d", video+1))
		a.arrivals = append(a.arrivals, slices.Repeat([]int32{int32(video)}, size)...)
	}
	random := rand.New(rand.NewPCG(scene.Seed, uint64(len(distribution))))
	random.Shuffle(len(a.arrivals), func(i, j int) { a.arrivals[i], a.arrivals[j] = a.arrivals[j], a.arrivals[i] })
	return a, nil
}
