package placement_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/placement"
)

func options() placement.Options {
	o := placement.Defaults()
	o.Random = rand.New(rand.NewPCG(1, 2))
	return o
}

func strategy(t testing.TB, name placement.Name, readers int) placement.Strategy {
	t.Helper()
	s, err := placement.New(name, options())
	require.NoError(t, err)
	for i := range readers {
		require.Equal(t, placement.Reader(i), s.Add(fmt.Sprintf("reader-%d", i)))
	}
	return s
}

// crowd is viewers of videos, one of which has a tenth of them all, in random order.
func crowd(viewers, videos int) []placement.Video {
	random := rand.New(rand.NewPCG(3, 4))
	crowd := make([]placement.Video, viewers)
	for i := range crowd {
		video := random.IntN(videos)
		if random.IntN(10) == 0 {
			video = 0
		}
		crowd[i] = placement.VideoOf(fmt.Sprintf("video%d", video))
	}
	return crowd
}

type placed struct {
	placement.Strategy
	crowd []placement.Video
	at    []placement.Reader
}

func place(t testing.TB, name placement.Name, readers int, crowd []placement.Video) *placed {
	t.Helper()
	p := &placed{strategy(t, name, readers), crowd, make([]placement.Reader, len(crowd))}
	for i, video := range crowd {
		p.at[i] = p.Place(video)
	}
	return p
}

// move gives every viewer its place again, and says what part of them changed it, and how many came to each reader.
func (p *placed) move() (moved float64, to map[placement.Reader]int) {
	to = map[placement.Reader]int{}
	for i, video := range p.crowd {
		if now := p.Move(video, p.at[i]); now != p.at[i] {
			p.at[i] = now
			to[now]++
			moved += 1 / float64(len(p.crowd))
		}
	}
	return moved, to
}

// viewers on each reader, and readers of each video.
func (p *placed) count() (viewers map[placement.Reader]int, readers map[placement.Video]map[placement.Reader]bool) {
	viewers, readers = map[placement.Reader]int{}, map[placement.Video]map[placement.Reader]bool{}
	for i, video := range p.crowd {
		viewers[p.at[i]]++
		if readers[video] == nil {
			readers[video] = map[placement.Reader]bool{}
		}
		readers[video][p.at[i]] = true
	}
	return viewers, readers
}

func TestViewersOfAVideoAreTogetherWhereTheStrategySaysSo(t *testing.T) {
	crowd := crowd(50_000, 2000)
	for _, name := range []placement.Name{placement.Registry, placement.Hash, placement.Ring} {
		_, readers := place(t, name, 10, crowd).count()
		for video, on := range readers {
			assert.Len(t, on, 1, "%s %d", name, video)
		}
	}
	_, random := place(t, placement.Random, 10, crowd).count()
	assert.Len(t, random[placement.VideoOf("video0")], 10, "at random they are everywhere")
}

func TestNoReaderHasMoreThanTheBound(t *testing.T) {
	crowd := crowd(50_000, 2000)
	for _, readers := range []int{1, 2, 10, 30} {
		p := place(t, placement.Bounded, readers, crowd)
		within := func(fleet int) {
			t.Helper()
			viewers, _ := p.count()
			for reader, count := range viewers {
				assert.LessOrEqual(t, count, int(math.Ceil(1.25*float64(len(crowd))/float64(fleet))), "reader %d of %d", reader, fleet)
			}
		}
		within(readers)
		p.Add("one-more")
		p.move()
		within(readers + 1)
		p.Remove(0)
		p.move()
		within(readers)
	}
	viewers, _ := place(t, placement.Hash, 30, crowd).count()
	assert.Greater(t, viewers[strategy(t, placement.Hash, 30).Place(placement.VideoOf("video0"))], 50_000/30*2, "without a bound the celebrity sinks its reader")
}

func TestOnlyLargeVideosSpreadOverReaders(t *testing.T) {
	p := place(t, placement.Bounded, 30, crowd(300_000, 2000))
	p.move()
	_, readers := p.count()
	spread := 0
	for _, on := range readers {
		if len(on) > 1 {
			spread++
		}
	}
	assert.Greater(t, len(readers[placement.VideoOf("video0")]), 3, "a tenth of all viewers is more than what three of thirty readers may have above their own")
	assert.Less(t, spread, 20, "of 2000 videos nearly all stay whole")
}

func TestAReaderThatComesTakesItsPartAndNoMore(t *testing.T) {
	const readers = 14
	for name, most := range map[placement.Name]float64{placement.Random: 0, placement.Registry: 0, placement.Hash: 1.5, placement.Ring: 1.5, placement.Bounded: 2.5} {
		p := place(t, name, readers, crowd(200_000, 5000))
		before, _ := p.move()
		added := p.Add("one-more")
		moved, to := p.move()
		assert.LessOrEqual(t, moved, most/(readers+1), "%s: settling moved %.3f", name, before)
		if name == placement.Hash || name == placement.Ring {
			assert.Len(t, to, 1, "%s moves viewers only to the new reader", name)
			assert.Positive(t, to[added])
		}
	}
}

func TestTheViewersOfALostReaderGoElsewhereAndTheOthersStay(t *testing.T) {
	for _, name := range placement.Names {
		p := place(t, name, 14, crowd(200_000, 5000))
		p.move()
		viewers, _ := p.count()
		own := float64(viewers[3]) / float64(len(p.crowd))
		p.Remove(3)
		moved, to := p.move()
		assert.NotContains(t, to, placement.Reader(3), name)
		if name == placement.Bounded {
			assert.InDelta(t, own, moved, 0.15, "the bound pushes some of the others too")
			continue
		}
		assert.InDelta(t, own, moved, 1e-9, name)
	}
}

func TestEveryProcessPlacesAlikeWhereNothingIsShared(t *testing.T) {
	for _, name := range []placement.Name{placement.Hash, placement.Ring} {
		one, other := strategy(t, name, 0), strategy(t, name, 0)
		names := []string{"a", "b", "c", "d", "e"}
		var here, there []string
		for i := range names {
			one.Add(names[i])
			other.Add(names[len(names)-1-i])
		}
		for i := range 100 {
			video := placement.VideoOf(fmt.Sprint(i))
			here = append(here, names[one.Place(video)])
			there = append(there, names[len(names)-1-int(other.Place(video))])
		}
		assert.Equal(t, here, there, "%s, in whatever order the readers come", name)
	}
}

func TestNobodyHasAPlaceInAnEmptyFleet(t *testing.T) {
	for _, name := range placement.Names {
		s := strategy(t, name, 0)
		assert.Equal(t, placement.Nowhere, s.Place(1), name)
		s.Release(1, placement.Nowhere)
		reader := s.Add("first")
		assert.Equal(t, reader, s.Move(1, placement.Nowhere), name)
		s.Remove(reader)
		s.Remove(reader)
		assert.Equal(t, placement.Nowhere, s.Move(1, reader), name)
		again := s.Add("first")
		assert.NotEqual(t, reader, again, "a handle is never given out twice")
		assert.Equal(t, again, s.Place(2), name)
		s.Release(2, again)
	}
}

func TestTheRegistryGivesNewVideosInTurnOrToTheLeastLoaded(t *testing.T) {
	inTurn := strategy(t, placement.Registry, 3)
	var at []placement.Reader
	for video := range placement.Video(6) {
		at = append(at, inTurn.Place(video))
	}
	assert.Equal(t, []placement.Reader{0, 1, 2, 0, 1, 2}, at)

	o := options()
	o.LeastLoaded = true
	least, err := placement.New(placement.Registry, o)
	require.NoError(t, err)
	least.Add("a")
	least.Add("b")
	assert.EqualValues(t, 0, least.Place(1))
	assert.EqualValues(t, 0, least.Place(1))
	assert.EqualValues(t, 1, least.Place(2), "a has two viewers, b none")
	assert.EqualValues(t, 1, least.Place(3), "b has one")
	least.Release(1, 0)
	least.Release(1, 0)
	assert.EqualValues(t, 0, least.Place(1), "the last viewer has left, and the video begins anew")
}

func TestBadOptionsAreRefused(t *testing.T) {
	for want, change := range map[string]func(*placement.Options){
		"virtual nodes must be from 1 to 10000, not 0":     func(o *placement.Options) { o.VirtualNodes = 0 },
		"virtual nodes must be from 1 to 10000, not 10001": func(o *placement.Options) { o.VirtualNodes = 10_001 },
		"epsilon must be more than 0, not 0":               func(o *placement.Options) { o.Epsilon = 0 },
		"epsilon must be more than 0, not -1":              func(o *placement.Options) { o.Epsilon = -1 },
		"epsilon must be more than 0, not NaN":             func(o *placement.Options) { o.Epsilon = math.NaN() },
	} {
		o := options()
		change(&o)
		_, err := placement.New(placement.Bounded, o)
		require.EqualError(t, err, want)
	}
	_, err := placement.New("nearest", options())
	require.EqualError(t, err, `strategy must be one of [random registry hash ring bounded], not "nearest"`)
}

func BenchmarkPlace(b *testing.B) {
	crowd := crowd(100_000, 5000)
	for _, name := range placement.Names {
		b.Run(string(name), func(b *testing.B) {
			p := place(b, name, 14, crowd)
			for b.Loop() {
				for i, video := range crowd {
					p.at[i] = p.Move(video, p.at[i])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(crowd)), "ns/viewer")
		})
	}
}
