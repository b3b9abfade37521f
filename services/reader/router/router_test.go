package router

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/fleet"
	"github.com/livecomments/livecomments/services/shared/placement"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a fleet without sockets: readers with streams, whose announcements all readers get a second later.
type world struct {
	t       *testing.T
	routing string
	now     time.Time
	readers []*reader
	// travelling are the viewers whose stream has ended, by the second in which they connect again.
	travelling map[int][]traveller
	second     int
	moves      int
	random     *rand.Rand
}

type traveller struct {
	video string
	from  *reader
}

// reader is one that has streams and a router.
type reader struct {
	world     *world
	name      string
	router    *Router
	mover     *mover
	viewers   map[string]int
	topics    map[string]*fanout.Topic
	videos    map[*fanout.Topic]string
	moved     int // in this second
	announced fleet.Member
	gone      bool
}

func (r *reader) Count() (n int) {
	for _, viewers := range r.viewers {
		n += viewers
	}
	return n
}

func (r *reader) Capacity() int             { return 1_000_000 }
func (r *reader) Delivered() uint64         { return 0 }
func (r *reader) Audience(video string) int { return r.viewers[video] }

func (r *reader) Audiences(each func(video string, viewers int, topic *fanout.Topic)) {
	for video, viewers := range r.viewers {
		if r.topics[video] == nil {
			topic := fanout.NewTopic(video, fanout.Limits{Frames: 1, Age: time.Second}, comment.ID{}, nil, true)
			r.topics[video], r.videos[topic] = topic, video
		}
		if viewers > 0 {
			each(video, viewers, r.topics[video])
		}
	}
}

func (r *reader) Move(topic *fanout.Topic, n int) {
	video := r.videos[topic]
	n = min(n, r.viewers[video])
	r.viewers[video] -= n
	r.moved += n
	r.world.moves += n
	for range n {
		at := r.world.second + 1 + r.world.random.IntN(2)
		r.world.travelling[at] = append(r.world.travelling[at], traveller{video, r})
	}
}

func newWorld(t *testing.T, routing string, readers int, seed uint64) *world {
	w := &world{t: t, routing: routing, now: time.Now(), travelling: map[int][]traveller{}, random: rand.New(rand.NewPCG(seed, 1))}
	for range readers {
		w.join()
	}
	w.exchange()
	return w
}

// add adds a reader, which all others know at once.
func (w *world) add() {
	w.join()
	w.exchange()
}

func (w *world) join() {
	r := &reader{world: w, name: fmt.Sprint("reader-", len(w.readers)+1), viewers: map[string]int{}, topics: map[string]*fanout.Topic{}, videos: map[*fanout.Topic]string{}}
	cfg := Config{Routing: w.routing, LoadBound: 0.25, MoveRate: 0.02}
	r.router = New(cfg, nil, zap.NewNop(), r.name, "http://"+r.name, r)
	r.mover = &mover{Router: r.router}
	r.announced = fleet.Member{Instance: r.name, Address: "http://" + r.name, Policy: cfg.policy(), Capacity: r.Capacity()}
	w.readers = append(w.readers, r)
}

// exchange gives all readers a view of what all have announced.
func (w *world) exchange() {
	var members []fleet.Member
	for _, r := range w.readers {
		if r.gone {
			continue
		}
		state := r.router.state()
		m := r.announced
		m.Viewers, m.Misplaced, m.Large, m.At = state.Viewers, state.Misplaced, state.Large, w.now
		members = append(members, m)
	}
	slices.SortFunc(members, func(a, b fleet.Member) int { return cmp.Compare(a.Instance, b.Instance) })
	for _, r := range w.readers {
		own := slices.IndexFunc(members, func(m fleet.Member) bool { return m.Instance == r.name })
		if own >= 0 {
			r.router.take(&fleet.View{Members: members, Own: own, Now: w.now, Read: w.now, Steady: true})
		}
	}
}

// connect has a viewer ask a reader for a stream, and begins it where it is sent.
func (w *world) connect(door *reader, video string) {
	verdict := door.router.Place(w.t.Context(), Viewer{User: fmt.Sprint(w.random.Uint64()), Video: video})
	for _, r := range w.readers {
		if verdict.To == "http://"+r.name {
			door = r
		}
	}
	door.viewers[video]++
}

// live lets some seconds pass. In each, viewers whose streams have ended connect by any reader.
func (w *world) live(seconds int) {
	for range seconds {
		w.second++
		for _, one := range w.travelling[w.second] {
			w.connect(w.anyReader(), one.video)
		}
		delete(w.travelling, w.second)
		for _, r := range w.readers {
			r.moved = 0
			if !r.gone {
				r.mover.look(w.now)
			}
		}
		for range int(time.Second / step) {
			w.now = w.now.Add(step)
			for _, r := range w.readers {
				if !r.gone {
					before := r.Count()
					r.mover.turn(w.now)
					assert.LessOrEqual(w.t, float64(r.moved), 0.02*float64(before+r.moved)+0.005*float64(before)+2, "%s in second %d", r.name, w.second)
				}
			}
		}
		w.exchange()
	}
}

func (w *world) anyReader() *reader {
	for {
		if r := w.readers[w.random.IntN(len(w.readers))]; !r.gone {
			return r
		}
	}
}

// figures are the busiest reader ÷ the mean, the copies of a video, and the streams that belong elsewhere.
func (w *world) figures() (busiest, copies float64, misplaced int) {
	readers, total, most, subscriptions := 0, 0, 0, 0
	videos := map[string]bool{}
	for _, r := range w.readers {
		if r.gone {
			continue
		}
		readers++
		total += r.Count()
		most = max(most, r.Count())
		misplaced += r.router.Misplaced()
		for video, viewers := range r.viewers {
			if viewers > 0 {
				subscriptions++
				videos[video] = true
			}
		}
	}
	return float64(most) * float64(readers) / float64(total), float64(subscriptions) / float64(len(videos)), misplaced
}

// readersOf is how many readers have viewers of a video, and present how many there are.
func (w *world) readersOf(video string) (n int) {
	for _, r := range w.readers {
		if !r.gone && r.viewers[video] > 0 {
			n++
		}
	}
	return n
}

func (w *world) present() (n int) {
	for _, r := range w.readers {
		if !r.gone {
			n++
		}
	}
	return n
}

// settle lets time pass until no stream belongs elsewhere, and then checks that it stays so.
func (w *world) settle(most int) (seconds int) {
	calm := 0
	for ; seconds < most && calm < 5; seconds++ {
		w.live(1)
		if _, _, misplaced := w.figures(); misplaced == 0 && len(w.travelling) == 0 {
			calm++
		} else {
			calm = 0
		}
	}
	require.Less(w.t, seconds, most, "it does not settle")
	before := w.moves
	w.live(30)
	assert.Equal(w.t, before, w.moves, "no stream goes to and fro")
	return seconds
}

func TestAFleetSettlesAndKeepsItsBoundWhateverBecomesOfIt(t *testing.T) {
	for seed := range uint64(5) {
		for _, celebrity := range []int{0, 300, 600} {
			t.Run(fmt.Sprintf("celebrity of %d, %d", celebrity, seed), func(t *testing.T) {
				t.Parallel()
				at := int(100 + 100*(seed%3)) // come between two announcements
				w := newWorld(t, "bounded", 3, seed)
				var viewers []string
				for range celebrity {
					viewers = append(viewers, fmt.Sprint("celebrity", seed))
				}
				for i := len(viewers); i < 1000; i++ {
					viewers = append(viewers, fmt.Sprintf("v%d-%d", seed, i%100))
				}
				w.random.Shuffle(len(viewers), func(i, j int) { viewers[i], viewers[j] = viewers[j], viewers[i] })
				for i, video := range viewers {
					w.connect(w.anyReader(), video)
					if i%at == at-1 {
						w.now = w.now.Add(200 * time.Millisecond)
						w.exchange()
					}
				}
				check := func(what string) {
					seconds := w.settle(300)
					busiest, copies, _ := w.figures()
					t.Logf("%s: settled in %d s, busiest %.2f, copies %.2f", what, seconds, busiest, copies)
					assert.LessOrEqual(t, busiest, 1.3, what)
					assert.LessOrEqual(t, copies, 1.3, what)
					if on, mean := w.readersOf(fmt.Sprint("celebrity", seed)), 1000.0/float64(w.present()); celebrity > 0 {
						assert.LessOrEqual(t, float64(on), math.Ceil(float64(celebrity)/(1.18*mean)), "%s: small videos make way for a celebrity", what)
					}
				}
				check("3 readers")
				for range 3 {
					w.add()
				}
				check("6 readers")
				dead := w.readers[1]
				dead.gone = true
				w.exchange()
				for video, n := range dead.viewers {
					for range n {
						w.connect(w.anyReader(), video)
					}
				}
				check("one lost")
			})
		}
	}
}

func TestByAHashAVideoIsWholeHoweverLargeItIs(t *testing.T) {
	w := newWorld(t, "hash", 2, 1)
	for i := range 1000 {
		w.connect(w.anyReader(), fmt.Sprint("v", i%10))
	}
	w.settle(100)
	w.add()
	w.settle(300)
	_, copies, _ := w.figures()
	assert.InDelta(t, 1, copies, 0)
}

func TestSmallVideosMoveFirst(t *testing.T) {
	p := planOf(t, "hash", member("a", 100), member("b", 0))
	var audiences []audience
	for i := range 40 {
		video := placement.VideoOf(fmt.Sprint(i))
		audiences = append(audiences, audience{video, 40 - i, 40 - i, topicOf("")})
	}
	slices.SortFunc(audiences, func(a, b audience) int { return cmp.Compare(a.here, b.here) })
	all := p.astray(audiences, 100, make([]int, 2))
	require.NotEmpty(t, all)
	assert.True(t, slices.IsSortedFunc(all, func(a, b astray) int { return cmp.Compare(a.streams, b.streams) }))
}

func TestNoStreamIsMovedToWhereItMayNotArrive(t *testing.T) {
	late := member("b", 0)
	late.At = late.At.Add(-2 * time.Second)
	sameAddress := member("b", 0)
	sameAddress.Address = member("a", 0).Address
	draining := member("b", 0)
	draining.Draining = true
	unreachable := member("b", 0)
	unreachable.Unreachable = true
	full := member("b", 50)
	full.Capacity = 50
	other := member("b", 0)
	other.Policy = "bounded/0.5"
	leaves := member("a", 100)
	leaves.Draining = true
	for name, test := range map[string]struct {
		own, other fleet.Member
		moves      bool
	}{
		"another reader":              {member("a", 100), member("b", 0), true},
		"one that is late":            {member("a", 100), late, false},
		"one of the same address":     {member("a", 100), sameAddress, false},
		"one that drains":             {member("a", 100), draining, false},
		"one that nobody reaches":     {member("a", 100), unreachable, false},
		"one that is full":            {member("a", 100), full, false},
		"one that places otherwise":   {member("a", 100), other, false},
		"from one that drains itself": {leaves, member("b", 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := planOf(t, "bounded", test.own, test.other)
			var audiences []audience
			for i := range 100 {
				audiences = append(audiences, audience{placement.VideoOf(fmt.Sprint(i)), 1, 1, topicOf("")})
			}
			assert.Equal(t, test.moves, len(p.astray(audiences, 100, make([]int, len(p.members)))) > 0)
		})
	}
}

func TestStreamsAreMovedOnlyWhereThereIsRoomForThem(t *testing.T) {
	for name, test := range map[string]struct {
		own, other int
		home       string // the reader that the video belongs to
		moves      bool
	}{
		"a full reader keeps its own":       {1000, 900, "a", false},
		"as does one that is nearly full":   {999, 900, "a", false},
		"also beside one that is full":      {1000, 999, "a", false},
		"many free places take many":        {500, 500, "b", true},
		"a full one takes none":             {500, 1000, "b", false},
		"a nearly full one takes no more":   {500, 999, "b", false},
		"one beyond its capacity is closed": {500, 1001, "b", false},
	} {
		t.Run(name, func(t *testing.T) {
			p := planOf(t, "hash", member("a", test.own), member("b", test.other))
			id := "v"
			for i := 0; p.members[p.strategy.Candidates(placement.VideoOf(id)).First].Instance != test.home; i++ {
				id = fmt.Sprint("v", i)
			}
			all := p.astray([]audience{{placement.VideoOf(id), test.own, test.own, topicOf(id)}}, test.own, make([]int, 2))
			assert.Equal(t, test.moves, len(all) > 0, "%v", all)
			for _, one := range all {
				assert.LessOrEqual(t, one.streams, 1000-test.other)
			}
		})
	}
}

func TestAReaderThatCanDialNobodySendsOnAllTheSameWhenItLeaves(t *testing.T) {
	w := newWorld(t, "hash", 20, 1)
	r := w.readers[0].router
	for _, leaving := range []bool{false, true} {
		r.draining.Store(leaving)
		for i := range 20 {
			// The readers of this world are nowhere.
			verdict := r.Place(t.Context(), Viewer{User: "me", Video: fmt.Sprint("v", i), Resumes: true})
			assert.Equal(t, leaving, verdict.To != "", "%+v", verdict)
		}
	}
}

func TestWhileRedisIsAwayWhoWasSentDoesNotCountForEver(t *testing.T) {
	s := &sends{}
	long := time.Now().Add(-time.Hour)
	for i := range 1000 {
		s.add(long.Add(time.Duration(i) * time.Second))
	}
	s.add(time.Now())
	assert.Equal(t, 1, s.since(long))
}

func TestLargeVideosLeaveTheLastRoomToSmallOnes(t *testing.T) {
	busy := member("b", 125)
	busy.Large = []fleet.Audience{{Video: placement.VideoOf("celebrity"), Viewers: 120}}
	p := planOf(t, "bounded", member("a", 122), busy, member("c", 53))
	for _, test := range []struct {
		video string
		stays bool
	}{{"celebrity", false}, {"small", true}} {
		// The one of both videos whose first candidate this reader is.
		id := test.video
		for i := 0; p.members[p.strategy.Candidates(placement.VideoOf(id)).First].Instance != "a"; i++ {
			id = fmt.Sprint(test.video, i)
		}
		video := placement.VideoOf(id)
		if test.video == "celebrity" {
			p.others[video] = 120
		}
		loads := p.loads(122)
		loads.Audience = p.audience(video, 2)
		assert.Equal(t, test.stays, p.pick(p.strategy.Candidates(video), loads) == p.own, test.video)
	}
}

func TestViewersThatWereSentCountUntilTheyAreAnnounced(t *testing.T) {
	var s sends
	began := time.Now()
	for i := range 10 {
		s.add(began.Add(time.Duration(i) * 100 * time.Millisecond))
		s.add(began.Add(time.Duration(i)*100*time.Millisecond + time.Millisecond))
	}
	assert.Equal(t, 20, s.since(began))
	assert.Equal(t, 10, s.since(began.Add(450*time.Millisecond)))
	assert.Equal(t, 10, s.since(began), "what is announced is forgotten")
	assert.Zero(t, s.since(began.Add(time.Minute)))
}

func topicOf(video string) *fanout.Topic {
	return fanout.NewTopic(video, fanout.Limits{Frames: 1, Age: time.Second}, comment.ID{}, nil, true)
}

var someTime = time.Now()

func member(name string, viewers int) fleet.Member {
	return fleet.Member{Instance: name, Address: "http://" + name, Policy: "p", Viewers: viewers, Capacity: 1000, At: someTime}
}

// planOf is the plan of reader a.
func planOf(t *testing.T, routing string, members ...fleet.Member) *plan {
	t.Helper()
	view := &fleet.View{Members: members, Now: someTime, Read: someTime, Steady: true}
	view.Own = slices.IndexFunc(members, func(m fleet.Member) bool { return m.Instance == "a" })
	return newPlan(Config{Routing: routing, LoadBound: 0.25}, view, nil)
}

func TestAMarkIsSpentAlsoAtAReaderThatDoesNotKnowTheFleetYet(t *testing.T) {
	w := newWorld(t, "hash", 2, 1)
	r := w.readers[0].router
	mark := func() string { return newMark(r.fleet.Now(), Viewer{}, w.readers[0].name).sign("secret") }
	fresh, spent := mark(), mark()
	r.Spend(spent)
	r.Spend("no mark")
	_, good := r.takeMark(fresh)
	assert.True(t, good)
	_, good = r.takeMark(spent)
	assert.False(t, good, "its viewer would be taken a second time")
}
