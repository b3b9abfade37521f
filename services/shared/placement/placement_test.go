package placement_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/placement"
)

// hashing are the strategies whose candidates follow from the names of the readers.
var hashing = []placement.Name{placement.Hash, placement.Ring, placement.Bounded}

func options() placement.Options {
	return placement.Options{Random: rand.New(rand.NewPCG(1, 2)), Table: &placement.Table{}, VirtualNodes: 160, Epsilon: 0.25}
}

func names(readers int) []string {
	names := make([]string, readers)
	for i := range names {
		names[i] = fmt.Sprintf("reader-%d", i)
	}
	return names
}

func without(names []string, reader int) []string {
	return slices.Concat(names[:reader], names[reader+1:])
}

func strategy(t testing.TB, name placement.Name, readers []string) placement.Strategy {
	t.Helper()
	s, err := placement.New(name, options(), readers)
	require.NoError(t, err)
	return s
}

func videos(n int) []placement.Video {
	videos := make([]placement.Video, n)
	for i := range videos {
		videos[i] = placement.VideoOf(fmt.Sprintf("video%d", i))
	}
	return videos
}

// order is the names of a video's candidates.
func order(s placement.Strategy, readers []string, video placement.Video) []string {
	var order []string
	for reader := range s.Candidates(video).All() {
		order = append(order, readers[reader])
	}
	return order
}

func TestEveryReaderIsACandidateOnce(t *testing.T) {
	for _, name := range placement.Names() {
		for _, readers := range []int{1, 2, 14, 70} {
			s := strategy(t, name, names(readers))
			for _, video := range videos(50) {
				candidates := s.Candidates(video)
				all := slices.Collect(candidates.All())
				assert.Equal(t, candidates.First, all[0], name)
				assert.ElementsMatch(t, names(readers), order(s, names(readers), video), name)
				assert.Equal(t, all, slices.Collect(candidates.All()), "%s: asked again it is the same order", name)
				for i := range all {
					assert.Equal(t, all[:i+1], take(candidates, i+1), "%s: whoever stops early gets the same readers", name)
				}
			}
		}
	}
}

// take is the first n candidates.
func take(candidates placement.Candidates, n int) (first []placement.Reader) {
	for reader := range candidates.All() {
		if first = append(first, reader); len(first) == n {
			break
		}
	}
	return first
}

func TestEveryProcessFindsTheSameReadersInWhateverOrderItListsThem(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	listed, other := names(14), names(14)
	random.Shuffle(len(other), func(i, j int) { other[i], other[j] = other[j], other[i] })
	viewers := map[string]int{}
	total := 0
	for i, reader := range listed {
		viewers[reader] = 100 + 10*i
		total += viewers[reader]
	}
	loads := func(names []string) placement.Loads {
		loads := placement.Loads{Total: total, Audience: 500}
		for _, reader := range names {
			loads.Viewers = append(loads.Viewers, viewers[reader])
		}
		return loads
	}
	for _, name := range hashing {
		here, there := strategy(t, name, listed), strategy(t, name, other)
		for _, video := range videos(200) {
			assert.Equal(t, order(here, listed, video), order(there, other, video), name)
			picked := listed[here.Pick(here.Candidates(video), loads(listed))]
			assert.Equal(t, picked, other[there.Pick(there.Candidates(video), loads(other))], name)
		}
	}
}

// A new reader gets into the order of the others and changes nothing else of it; so does a lost one get out of it.
func TestTheOtherReadersStayInOrderWhenOneComesOrGoes(t *testing.T) {
	const lost = 3
	all := names(14)
	rest := without(all, lost)
	for _, name := range hashing {
		whole, shrunk := strategy(t, name, all), strategy(t, name, rest)
		for _, video := range videos(500) {
			want := slices.DeleteFunc(order(whole, all, video), func(reader string) bool { return reader == all[lost] })
			assert.Equal(t, want, order(shrunk, rest, video), name)
		}
	}
}

func TestAReaderIsTheFirstCandidateOfItsPartOfTheVideos(t *testing.T) {
	const readers, many = 14, 20_000
	for _, name := range hashing {
		s := strategy(t, name, names(readers))
		first := make([]int, readers)
		for _, video := range videos(many) {
			first[s.Candidates(video).First]++
		}
		for reader, count := range first {
			assert.InEpsilon(t, many/readers, count, 0.5, "%s: reader %d", name, reader)
		}
	}
}

func TestTheVideosOfALostReaderSpreadOverTheOthers(t *testing.T) {
	for _, name := range hashing {
		s := strategy(t, name, names(14))
		second := map[placement.Reader]bool{}
		for _, video := range videos(5000) {
			if candidates := take(s.Candidates(video), 2); candidates[0] == 3 {
				second[candidates[1]] = true
			}
		}
		assert.Len(t, second, 13, name)
	}
}

// Candidates that are made by hand, because Pick does not ask where they come from.
func TestABoundedReaderTakesViewersUpToItsBound(t *testing.T) {
	s := strategy(t, placement.Bounded, names(4))
	candidates := placement.Candidates{First: 2, Others: slices.Values([]placement.Reader{0, 3, 1})}
	// With the viewer that comes, the mean of 399 is 100, the bound 125, and a large video's 118.75; a video is large with 26.
	for name, with := range map[string]struct {
		viewers  []int
		total    int
		audience int
		want     placement.Reader
	}{
		"nobody is here":                                  {[]int{0, 0, 0, 0}, 0, 0, 2},
		"the first has room":                              {[]int{90, 95, 124, 90}, 399, 0, 2},
		"the first is full":                               {[]int{124, 60, 125, 90}, 399, 0, 0},
		"the first two are full":                          {[]int{125, 75, 125, 74}, 399, 0, 3},
		"the first three are full":                        {[]int{125, 24, 125, 125}, 399, 0, 1},
		"the last of the room is not for a large video":   {[]int{119, 61, 119, 100}, 399, 25, 3},
		"a video that is not quite large has all of it":   {[]int{119, 61, 119, 100}, 399, 24, 2},
		"a large video has a little less":                 {[]int{93, 94, 118, 94}, 399, 300, 2},
		"viewers that wait for a reader raise the bound":  {[]int{0, 0, 125, 0}, 400, 0, 2},
		"loads that contradict themselves have no answer": {[]int{100, 100, 100, 100}, 10, 0, 2},
	} {
		got := s.Pick(candidates, placement.Loads{Viewers: with.viewers, Total: with.total, Audience: with.audience})
		assert.Equal(t, with.want, got, name)
	}
}

func TestWithoutABoundTheFirstCandidateTakesEverybody(t *testing.T) {
	for _, name := range []placement.Name{placement.Hash, placement.Ring} {
		s := strategy(t, name, names(3))
		for _, video := range videos(20) {
			candidates := s.Candidates(video)
			viewers := []int{0, 0, 0}
			viewers[candidates.First] = 1_000_000
			got := s.Pick(candidates, placement.Loads{Viewers: viewers, Total: 1_000_000, Audience: 500_000})
			assert.Equal(t, candidates.First, got, name)
		}
	}
}

func TestNobodyHasAReaderInAnEmptyFleet(t *testing.T) {
	for _, name := range placement.Names() {
		s := strategy(t, name, nil)
		candidates := s.Candidates(1)
		assert.Equal(t, placement.Nowhere, candidates.First, name)
		assert.Empty(t, slices.Collect(candidates.All()), name)
		assert.Empty(t, slices.Collect(candidates.Others), name)
		assert.Equal(t, placement.Nowhere, s.Pick(candidates, placement.Loads{Total: 7, Audience: 3}), name)
	}
}

func TestViewersAreSentAnywhereAtRandom(t *testing.T) {
	s := strategy(t, placement.Random, names(5))
	candidates := s.Candidates(1)
	viewers := make([]int, 5)
	for range 10_000 {
		viewers[s.Pick(candidates, placement.Loads{Viewers: viewers})]++
	}
	for reader, count := range viewers {
		assert.InEpsilon(t, 2000, count, 0.1, "reader %d", reader)
	}
}

func TestTheRegistryAssignsNewVideosInTurn(t *testing.T) {
	s := strategy(t, placement.Registry, names(3))
	pick := func(video placement.Video, audience int) placement.Reader {
		return s.Pick(s.Candidates(video), placement.Loads{Viewers: []int{9, 9, 0}, Total: 18, Audience: audience})
	}
	var readers []placement.Reader
	for video := range placement.Video(6) {
		readers = append(readers, pick(video, 0))
	}
	assert.Equal(t, []placement.Reader{0, 1, 2, 0, 1, 2}, readers)
	assert.EqualValues(t, 1, pick(4, 1), "later viewers follow the first")
	assert.EqualValues(t, 0, pick(4, 0), "when all viewers have left, the video begins anew")
	assert.EqualValues(t, 0, pick(4, 1))
}

func TestTheRegistryAssignsNewVideosToTheLeastLoaded(t *testing.T) {
	o := options()
	o.LeastLoaded = true
	s, err := placement.New(placement.Registry, o, names(3))
	require.NoError(t, err)
	pick := func(video placement.Video, audience int, viewers ...int) placement.Reader {
		return s.Pick(s.Candidates(video), placement.Loads{Viewers: viewers, Audience: audience})
	}
	assert.EqualValues(t, 0, pick(1, 0, 0, 0, 0), "of equals the first")
	assert.EqualValues(t, 1, pick(2, 0, 2, 0, 1))
	assert.EqualValues(t, 2, pick(3, 0, 2, 2, 1))
	assert.EqualValues(t, 1, pick(2, 5, 0, 9, 0), "a video stays where its viewers are")
}

func TestATableOutlivesTheFleet(t *testing.T) {
	o := options()
	fleet := func(readers ...string) func(video placement.Video) string {
		s, err := placement.New(placement.Registry, o, readers)
		require.NoError(t, err)
		return func(video placement.Video) string {
			return readers[s.Pick(s.Candidates(video), placement.Loads{Viewers: make([]int, len(readers)), Audience: 1})]
		}
	}
	before := fleet("a", "b", "c")
	assert.Equal(t, []string{"a", "b", "c"}, []string{before(1), before(2), before(3)})
	after := fleet("d", "c", "a")
	assert.Equal(t, []string{"a", "c"}, []string{after(1), after(3)}, "by their names, wherever they are listed")
	assert.Equal(t, "d", after(2), "the video of a lost reader is assigned anew")
	assert.Equal(t, "d", fleet("a", "b", "c", "d")(2), "and stays there when that reader comes back")
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

// placed is a crowd on a fleet, with exact loads.
type placed struct {
	t        testing.TB
	name     placement.Name
	options  placement.Options
	crowd    []placement.Video
	at       []string // by viewer; "" before it has come
	viewers  map[string]int
	audience map[placement.Video]int
	total    int
}

func place(t testing.TB, name placement.Name, readers []string, crowd []placement.Video) *placed {
	t.Helper()
	p := &placed{t, name, options(), crowd, make([]string, len(crowd)), map[string]int{}, map[placement.Video]int{}, 0}
	p.moveTo(readers)
	return p
}

// moveTo gives every viewer its reader in a fleet, and returns what part of them changed it, and how many came to each reader.
func (p *placed) moveTo(readers []string) (moved float64, to map[string]int) {
	p.t.Helper()
	s, err := placement.New(p.name, p.options, readers)
	require.NoError(p.t, err)
	loads := placement.Loads{Viewers: make([]int, len(readers))}
	for i, reader := range readers {
		loads.Viewers[i] = p.viewers[reader]
	}
	to = map[string]int{}
	for i, video := range p.crowd {
		from := slices.Index(readers, p.at[i])
		if p.at[i] != "" {
			p.total--
			p.audience[video]--
		}
		if from >= 0 {
			loads.Viewers[from]--
		}
		loads.Total, loads.Audience = p.total, p.audience[video]
		reader := placement.Reader(from)
		if from < 0 || !s.Sticky() {
			reader = s.Pick(s.Candidates(video), loads)
		}
		loads.Viewers[reader]++
		p.total++
		p.audience[video]++
		if name := readers[reader]; name != p.at[i] {
			p.at[i] = name
			to[name]++
			moved += 1 / float64(len(p.crowd))
		}
	}
	p.viewers = map[string]int{}
	for i, reader := range readers {
		p.viewers[reader] = loads.Viewers[i]
	}
	return moved, to
}

// readers has the readers of each video.
func (p *placed) readers() map[placement.Video]map[string]bool {
	readers := map[placement.Video]map[string]bool{}
	for i, video := range p.crowd {
		if readers[video] == nil {
			readers[video] = map[string]bool{}
		}
		readers[video][p.at[i]] = true
	}
	return readers
}

func TestViewersOfAVideoAreTogetherWhereTheStrategySaysSo(t *testing.T) {
	crowd := crowd(50_000, 2000)
	for _, name := range []placement.Name{placement.Registry, placement.Hash, placement.Ring} {
		for video, on := range place(t, name, names(10), crowd).readers() {
			assert.Len(t, on, 1, "%s %d", name, video)
		}
	}
	random := place(t, placement.Random, names(10), crowd).readers()
	assert.Len(t, random[placement.VideoOf("video0")], 10, "at random they are everywhere")
}

func TestNoReaderHasMoreThanTheBound(t *testing.T) {
	crowd := crowd(50_000, 2000)
	for _, readers := range []int{1, 2, 10, 30} {
		p := place(t, placement.Bounded, names(readers), crowd)
		within := func(fleet int) {
			t.Helper()
			assert.Len(t, p.viewers, fleet)
			for reader, count := range p.viewers {
				bound := int(math.Ceil(1.25 * float64(len(crowd)) / float64(fleet)))
				assert.LessOrEqual(t, count, bound, "%s of %d", reader, fleet)
			}
		}
		within(readers)
		p.moveTo(names(readers + 1))
		within(readers + 1)
		p.moveTo(names(readers + 1)[1:])
		within(readers)
	}
	most := 0
	for _, count := range place(t, placement.Hash, names(30), crowd).viewers {
		most = max(most, count)
	}
	assert.Greater(t, most, 50_000/30*2, "without a bound the celebrity sinks its reader")
}

func TestOnlyLargeVideosSpreadOverReaders(t *testing.T) {
	p := place(t, placement.Bounded, names(30), crowd(300_000, 2000))
	p.moveTo(names(30))
	readers := p.readers()
	spread := 0
	for _, on := range readers {
		if len(on) > 1 {
			spread++
		}
	}
	celebrity := readers[placement.VideoOf("video0")]
	assert.Greater(t, len(celebrity), 3, "a tenth of all viewers is more than what three of thirty readers may have above their own")
	assert.Less(t, spread, 20, "of 2000 videos nearly all stay whole")
}

func TestAReaderThatComesTakesItsPartAndNoMore(t *testing.T) {
	const readers = 14
	for name, most := range map[placement.Name]float64{
		placement.Random: 0, placement.Registry: 0, placement.Hash: 1.5, placement.Ring: 1.5, placement.Bounded: 2.5,
	} {
		p := place(t, name, names(readers), crowd(200_000, 5000))
		settling, _ := p.moveTo(names(readers))
		moved, to := p.moveTo(names(readers + 1))
		assert.LessOrEqual(t, moved, most/(readers+1), "%s: settling moved %.3f", name, settling)
		if name == placement.Hash || name == placement.Ring {
			assert.Len(t, to, 1, "%s moves viewers only to the new reader", name)
			assert.Positive(t, to["reader-14"])
		}
	}
}

func TestTheViewersOfALostReaderGoElsewhereAndTheOthersStay(t *testing.T) {
	for _, name := range placement.Names() {
		p := place(t, name, names(14), crowd(200_000, 5000))
		p.moveTo(names(14))
		own := float64(p.viewers["reader-3"]) / float64(len(p.crowd))
		moved, to := p.moveTo(without(names(14), 3))
		assert.NotContains(t, to, "reader-3", name)
		if name == placement.Bounded {
			assert.InDelta(t, own, moved, 0.15, "the bound displaces some of the others too")
			continue
		}
		assert.InDelta(t, own, moved, 1e-9, name)
	}
}

func TestManyMayPickAtOnceWhereNothingIsShared(t *testing.T) {
	o := options()
	o.Random = nil
	for _, name := range append(slices.Clone(hashing), placement.Random) {
		s, err := placement.New(name, o, names(5))
		require.NoError(t, err)
		loads := placement.Loads{Viewers: []int{30, 10, 20, 25, 15}, Total: 100, Audience: 3}
		var picking sync.WaitGroup
		for range 4 {
			picking.Go(func() {
				for _, video := range videos(200) {
					reader := s.Pick(s.Candidates(video), loads)
					assert.True(t, reader >= 0 && reader < 5, "%s: %d", name, reader)
				}
			})
		}
		picking.Wait()
	}
}

func TestStrategiesAreListedInTheOrderInWhichTheyAreCompared(t *testing.T) {
	assert.Equal(t, []placement.Name{"random", "registry", "hash", "ring", "bounded"}, placement.Names())
}

func TestBadOptionsAreRefused(t *testing.T) {
	for want, change := range map[string]func(*placement.Options){
		"virtual nodes must be from 1 to 10000, not 0":     func(o *placement.Options) { o.VirtualNodes = 0 },
		"virtual nodes must be from 1 to 10000, not 10001": func(o *placement.Options) { o.VirtualNodes = 10_001 },
		"epsilon must be more than 0, not 0":               func(o *placement.Options) { o.Epsilon = 0 },
		"epsilon must be more than 0, not -1":              func(o *placement.Options) { o.Epsilon = -1 },
		"epsilon must be more than 0, not NaN":             func(o *placement.Options) { o.Epsilon = math.NaN() },
		"epsilon must be more than 0, not +Inf":            func(o *placement.Options) { o.Epsilon = math.Inf(1) },
		"registry needs a table":                           func(o *placement.Options) { o.Table = nil },
	} {
		o := options()
		change(&o)
		_, err := placement.New(placement.Registry, o, names(3))
		require.EqualError(t, err, want)
	}
	_, err := placement.New("nearest", options(), names(3))
	require.EqualError(t, err, `strategy must be one of [random registry hash ring bounded], not "nearest"`)
	_, err = placement.New(placement.Ring, options(), []string{"a", "b", "a"})
	require.EqualError(t, err, `reader "a" is listed twice`)
}

func BenchmarkPick(b *testing.B) {
	crowd := crowd(100_000, 5000)
	for _, name := range placement.Names() {
		b.Run(string(name), func(b *testing.B) {
			s := strategy(b, name, names(14))
			loads := placement.Loads{Viewers: make([]int, 14), Audience: 20}
			for b.Loop() {
				clear(loads.Viewers)
				for loads.Total = range crowd {
					loads.Viewers[s.Pick(s.Candidates(crowd[loads.Total]), loads)]++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(crowd)), "ns/viewer")
		})
	}
}
