package placement_test

import (
	"fmt"
	"iter"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/placement"
)

// audiences are those of a celebrity, and of so many videos of five viewers.
func audiences(celebrity, small int) map[placement.Video]int {
	all := map[placement.Video]int{placement.VideoOf("celebrity"): celebrity}
	for _, video := range videos(small) {
		all[video] = 5
	}
	return all
}

// assigned is by video the name of the reader that its viewers try first.
func assigned(t *testing.T, readers []string, audiences map[placement.Video]int) map[placement.Video]string {
	t.Helper()
	s := strategy(t, placement.Bounded, readers)
	weights := weightsFor(s, audiences)
	first := map[placement.Video]string{}
	for video, viewers := range audiences {
		first[video] = readers[weights.Order(s.Candidates(video), viewers).First]
	}
	return first
}

func weightsFor(s placement.Strategy, audiences map[placement.Video]int) *placement.Weights {
	total := 0
	for _, viewers := range audiences {
		total += viewers
	}
	return placement.WeightsFor(s, maps.All(audiences), total)
}

func TestACelebrityIsOnAsFewReadersAsHoldIt(t *testing.T) {
	for _, test := range []struct{ readers, celebrity, on int }{
		{10, 400, 1}, {10, 1000, 1}, {10, 3000, 3}, {30, 3000, 8}, {30, 9000, 23}, {1, 3000, 1},
	} {
		t.Run(fmt.Sprintf("%d of 10,000 viewers on %d readers", test.celebrity, test.readers), func(t *testing.T) {
			readers := names(test.readers)
			audiences := audiences(test.celebrity, (10_000-test.celebrity)/5)
			s := strategy(t, placement.Bounded, readers)
			weights := weightsFor(s, audiences)
			loads := placement.Loads{Viewers: make([]int, len(readers)), Total: 10_000 - 1}
			on := map[placement.Video]map[placement.Reader]bool{}
			for _, video := range shuffled(audiences) {
				loads.Audience = audiences[video] - 1
				reader := s.Pick(weights.Order(s.Candidates(video), audiences[video]), loads)
				loads.Viewers[reader]++
				if on[video] == nil {
					on[video] = map[placement.Reader]bool{}
				}
				on[video][reader] = true
			}
			assert.Len(t, on[placement.VideoOf("celebrity")], test.on)
			split := 0
			for _, readers := range on {
				if len(readers) > 1 {
					split++
				}
			}
			assert.LessOrEqual(t, split, 1+len(on)/50, "small videos make way as a whole")
			assert.LessOrEqual(t, float64(slices.Max(loads.Viewers)), math.Ceil(1.25*10_000/float64(test.readers)))
		})
	}
}

// shuffled is the video of each viewer.
func shuffled(audiences map[placement.Video]int) []placement.Video {
	var all []placement.Video
	for _, video := range slices.Sorted(maps.Keys(audiences)) {
		all = append(all, slices.Repeat([]placement.Video{video}, audiences[video])...)
	}
	rand.New(rand.NewPCG(7, 8)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func TestNobodyMakesWayWhereNoVideoIsLarge(t *testing.T) {
	for _, name := range placement.Names() {
		s := strategy(t, name, names(10))
		large := weightsFor(s, audiences(3000, 1400))
		assert.Equal(t, name == placement.Bounded, large != nil, "%s", name)
		assert.Nil(t, weightsFor(s, audiences(100, 1000)), "%s: with a celebrity that is none", name)
		empty := strategy(t, name, nil)
		assert.Nil(t, weightsFor(empty, audiences(3000, 1400)), "%s: in an empty fleet", name)
	}
	s := strategy(t, placement.Bounded, names(3))
	assert.Nil(t, placement.WeightsFor(s, maps.All(map[placement.Video]int{}), 0), "in a fleet without viewers")
	var none *placement.Weights
	for _, video := range videos(20) {
		assert.Equal(t, order(s, names(3), video), named(none.Leaning(1, 0.1).Order(s.Candidates(video), 5).All(), names(3)))
	}
}

func named(order iter.Seq[placement.Reader], readers []string) (names []string) {
	for reader := range order {
		names = append(names, readers[reader])
	}
	return names
}

func TestWhoMakesWayStillHasEveryReaderAsACandidate(t *testing.T) {
	s := strategy(t, placement.Bounded, names(10))
	weights := weightsFor(s, audiences(3000, 1400))
	first := s.Candidates(placement.VideoOf("celebrity")).First
	made := 0
	for _, video := range videos(1400) {
		candidates := weights.Order(s.Candidates(video), 5)
		all := slices.Collect(candidates.All())
		assert.Equal(t, candidates.First, all[0])
		assert.ElementsMatch(t, names(10), named(candidates.All(), names(10)))
		assert.Equal(t, all[:4], take(candidates, 4))
		assert.NotEqual(t, first, all[0], "the celebrity has the first reader alone")
		if s.Candidates(video).First == first {
			made++
			assert.Contains(t, all[7:], first, "there its viewers go when all others are full")
		}
	}
	assert.Greater(t, made, 50)
}

func TestACelebrityDoesNotMakeWayForItself(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 10))
	for range 300 {
		readers := names(3 + random.IntN(10))
		for i := range readers {
			readers[i] = fmt.Sprintf("livecomments-reader-%d", random.Uint32())
		}
		s := strategy(t, placement.Bounded, readers)
		celebrity := placement.VideoOf("celebrity")
		audiences := audiences(200+random.IntN(2000), 1400)
		assert.Equal(t, order(s, readers, celebrity), named(weightsFor(s, audiences).Order(s.Candidates(celebrity), audiences[celebrity]).All(), readers))
	}
}

func TestEveryProcessMakesTheSameWay(t *testing.T) {
	listed, other := names(14), slices.Clone(names(14))
	slices.Reverse(other)
	all := audiences(3000, 1400)
	assert.Equal(t, assigned(t, listed, all), assigned(t, other, all))
}

// An audience is never quite the same for two readers, and not for a second.
func TestAnAudienceThatGrowsALittleMovesFewVideos(t *testing.T) {
	for celebrity := 200; celebrity < 4000; celebrity += celebrity / 50 {
		before, after := assigned(t, names(14), audiences(celebrity, 1400)), assigned(t, names(14), audiences(celebrity+celebrity/50, 1400))
		moved := 0
		for video, reader := range before {
			if after[video] != reader {
				moved++
			}
		}
		require.LessOrEqual(t, moved, 1400/50, "from %d", celebrity)
	}
}

func TestTwoCelebritiesOfNearlyOneSizeDoNotSwapTheirReaders(t *testing.T) {
	random := rand.New(rand.NewPCG(11, 12))
	for range 100 {
		readers := names(6)
		all := audiences(0, 1000)
		for range 2 {
			all[placement.Video(random.Uint64())] = 700
		}
		before := assigned(t, readers, all)
		for video, viewers := range all {
			if viewers != 700 {
				continue
			}
			all[video]++
			moved := 0
			for video, reader := range assigned(t, readers, all) {
				if before[video] != reader {
					moved++
				}
			}
			require.LessOrEqual(t, moved, 20, "one viewer more decides about few videos")
		}
	}
}

func TestAVideoThatIsAboutToMakeWayStaysWhereItIs(t *testing.T) {
	s := strategy(t, placement.Bounded, names(14))
	now, soon := weightsFor(s, audiences(800, 1400)), weightsFor(s, audiences(820, 1400))
	moves := 0
	for _, video := range videos(1400) {
		from, to := now.Order(s.Candidates(video), 5).First, soon.Order(s.Candidates(video), 5).First
		assert.Equal(t, from, soon.Leaning(from, 0.1).Order(s.Candidates(video), 5).First)
		assert.Equal(t, to, now.Leaning(to, 0.1).Order(s.Candidates(video), 5).First, "nor does it come back at once")
		if from != to {
			moves++
		}
	}
	assert.Positive(t, moves)
}
