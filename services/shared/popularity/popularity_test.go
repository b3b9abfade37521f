package popularity_test

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/popularity"
)

func sum(numbers []int) (total int) {
	for _, n := range numbers {
		total += n
	}
	return total
}

func TestAudiencesSumToTheViewersAndEveryVideoHasOne(t *testing.T) {
	for _, distribution := range popularity.Distributions {
		for _, size := range []struct{ videos, viewers int }{{1, 1}, {1, 1000}, {2, 3}, {7, 7}, {100, 1000}, {90_000, 2_000_000}} {
			audiences, err := popularity.Audiences(distribution, size.videos, size.viewers)
			require.NoError(t, err)
			assert.Len(t, audiences, size.videos)
			assert.Equal(t, size.viewers, sum(audiences), "%s %v", distribution, size)
			assert.GreaterOrEqual(t, slices.Min(audiences), 1)
		}
	}
}

func TestTheDistributionsHaveTheirShapes(t *testing.T) {
	const videos, viewers = 1000, 1_001_000 // a million beyond the one that each has
	uniform, err := popularity.Audiences(popularity.Uniform, videos, viewers+1)
	require.NoError(t, err)
	assert.Equal(t, 1001, slices.Min(uniform))
	assert.Equal(t, 1002, slices.Max(uniform))

	tiers, err := popularity.Audiences(popularity.ThreeTier, videos, viewers)
	require.NoError(t, err)
	assert.InEpsilon(t, 500_000+10, sum(tiers[:10]), 0.001)
	assert.InEpsilon(t, 300_000+90, sum(tiers[10:100]), 0.001)
	assert.InEpsilon(t, 200_000+900, sum(tiers[100:]), 0.001)

	zipf, err := popularity.Audiences(popularity.Zipf, videos, viewers)
	require.NoError(t, err)
	exponent := popularity.Exponent(videos, viewers)
	for _, rank := range []int{2, 10, 100} {
		assert.InEpsilon(t, float64(zipf[0]-1)/math.Pow(float64(rank), exponent), float64(zipf[rank-1]-1), 0.01, "rank %d", rank)
	}
}

func TestTheCelebrityOfZipfHasFivePercent(t *testing.T) {
	for _, size := range []struct{ videos, viewers int }{{90_000, 2_000_000}, {1000, 22_000}, {100, 2500}} {
		zipf, err := popularity.Audiences(popularity.Zipf, size.videos, size.viewers)
		require.NoError(t, err)
		assert.InDelta(t, 0.05*float64(size.viewers), zipf[0], 1, "%v", size)
	}
	assert.InDelta(t, 1, popularity.Exponent(5, 1000), 0, "five videos have a fifth each, and more with less evenness")
	assert.InDelta(t, 1, popularity.Exponent(50, 50), 0, "one viewer each")
}

func TestACelebrityHasThirtyPercentAndTheOthersAreEqual(t *testing.T) {
	for _, size := range []struct{ videos, viewers int }{{90_000, 2_000_000}, {100, 1000}, {4, 60}} {
		audiences, err := popularity.Audiences(popularity.Celebrity, size.videos, size.viewers)
		require.NoError(t, err)
		assert.InDelta(t, 0.3*float64(size.viewers), audiences[0], 1, "%v", size)
		assert.LessOrEqual(t, slices.Max(audiences[1:])-slices.Min(audiences[1:]), 1, "%v", size)
	}
	few, err := popularity.Audiences(popularity.Celebrity, 2, 100)
	require.NoError(t, err)
	assert.Equal(t, []int{50, 50}, few, "two videos have more than that with an even part")
}

func TestImpossibleAudiencesAreRefused(t *testing.T) {
	for want, try := range map[string]struct {
		distribution    popularity.Distribution
		videos, viewers int
	}{
		"videos must be at least 1, not 0":                                        {popularity.Uniform, 0, 10},
		"videos must be at least 1, not -1":                                       {popularity.Uniform, -1, 10},
		"11 videos need at least as many viewers, not 10":                         {popularity.Zipf, 11, 10},
		`popularity must be uniform, three-tier, zipf or celebrity, not "normal"`: {"normal", 1, 10},
	} {
		_, err := popularity.Audiences(try.distribution, try.videos, try.viewers)
		assert.EqualError(t, err, want)
	}
}

func TestViewersAreAssignedToTheAudiences(t *testing.T) {
	audiences := []int{5, 1, 3}
	assigned := popularity.Assign(audiences, rand.New(rand.NewPCG(1, 2)))
	assert.Equal(t, []int{0, 1, 2}, assigned[:3], "the first viewers take one video each")
	counted := make([]int, len(audiences))
	for _, video := range assigned {
		counted[video]++
	}
	assert.Equal(t, audiences, counted)
	assert.Equal(t, assigned, popularity.Assign(audiences, rand.New(rand.NewPCG(1, 2))), "the same seed gives the same viewers")
}
