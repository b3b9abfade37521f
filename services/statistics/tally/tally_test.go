package tally_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// clock is moved by hand.
type clock struct{ time.Time }

func (c *clock) now() time.Time       { return c.Time }
func (c *clock) pass(d time.Duration) { c.Time = c.Add(d) }

// taker is a Tally that must take every report.
type taker struct {
	*tally.Tally
	t *testing.T
}

func (t taker) comment(report reports.CommentAPI) { require.NoError(t.t, t.TakeComment(report)) }
func (t taker) reader(report reports.Reader)      { require.NoError(t.t, t.TakeReader(report)) }
func (t taker) client(report reports.Client)      { require.NoError(t.t, t.TakeClient(report)) }

func newTally(t *testing.T) (taker, *clock) {
	tally, clock, _ := newLogged(t, 100)
	return tally, clock
}

// newLogged is a tally of up to so many instances of each kind, and what it logs.
func newLogged(t *testing.T, most int) (taker, *clock, *observer.ObservedLogs) {
	c := &clock{time.Unix(1_700_000_000, 0)}
	log, logs := observer.New(zap.InfoLevel)
	cfg := tally.Config{StaleAfter: 15 * time.Second, Window: 30 * time.Second, MaxInstances: most}
	return taker{tally.New(cfg, c.now, zap.New(log)), t}, c, logs
}

func topics(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("v%05d", i))
	}
	return all
}

func TestCountsOf90000ChannelsStayExactWhileListsAreCapped(t *testing.T) {
	tally, _ := newTally(t)
	tally.comment(reports.CommentAPI{ActiveTopics: topics(100), ActiveTopicCount: 90_000})
	tally.reader(reports.Reader{InstanceID: "r1", SubscribedTopics: topics(100), SubscribedTopicCount: 72_900})
	tally.reader(reports.Reader{InstanceID: "r2", SubscribedTopics: topics(5000)}) // a sender that does not cap
	all := tally.Totals().ReaderAPIs
	assert.Equal(t, 90_000, all.AllSubscribedTopicCount)
	assert.Equal(t, 72_900+5000, all.TotalSubscriptions)
	assert.InDelta(t, 0.81, all.Readers[0].SubscriptionShare, 1e-9)
	assert.InDelta(t, 5000.0/90_000, all.Readers[1].SubscriptionShare, 1e-9)
	assert.InDelta(t, (0.81+5000.0/90_000)/2, all.SubscriptionShare.Mean, 1e-9)
	assert.InDelta(t, 5000.0/90_000, all.SubscriptionShare.Min, 1e-9)
	assert.InDelta(t, 0.81, all.SubscriptionShare.Max, 1e-9)
	for name, list := range map[string][]string{
		"all": all.AllSubscribedTopics, "r1": all.Readers[0].SubscribedTopics, "r2": all.Readers[1].SubscribedTopics,
	} {
		assert.Len(t, list, reports.ListCap, name)
	}
}

func TestWithoutRedisTheShareIsOfWhatTheReadersName(t *testing.T) {
	tally, _ := newTally(t)
	tally.reader(reports.Reader{InstanceID: "r1", SubscribedTopics: []string{"a", "b"}})
	tally.reader(reports.Reader{InstanceID: "r2", SubscribedTopics: []string{"b", "c"}})
	all := tally.Totals().ReaderAPIs
	assert.Equal(t, 3, all.AllSubscribedTopicCount)
	assert.Equal(t, []string{"a", "b", "c"}, all.AllSubscribedTopics)
	assert.InDelta(t, 2.0/3, all.Readers[0].SubscriptionShare, 1e-9)
}

func TestWhatNobodyKnowsIsNotGuessed(t *testing.T) {
	tally, _ := newTally(t)
	tally.reader(reports.Reader{InstanceID: "r1", SubscribedTopics: topics(100), SubscribedTopicCount: 1000})
	tally.reader(reports.Reader{InstanceID: "r2", SubscribedTopics: topics(100), SubscribedTopicCount: 1000})
	all := tally.Totals().ReaderAPIs
	assert.Zero(t, all.AllSubscribedTopicCount)
	assert.Zero(t, all.SubscriptionShare.Max)
	assert.Equal(t, 2000, all.TotalSubscriptions)
}

func TestAPartThatStopsReportingDropsOutOfTheTotals(t *testing.T) {
	tally, clock := newTally(t)
	tally.reader(reports.Reader{InstanceID: "stays", ActiveConnections: 10, MessagesSent: 100})
	tally.reader(reports.Reader{InstanceID: "goes", ActiveConnections: 5, MessagesSent: 50})
	tally.client(reports.Client{ClientID: "stays", Viewers: 3})
	tally.client(reports.Client{ClientID: "goes", Viewers: 4})
	clock.pass(10 * time.Second)
	tally.reader(reports.Reader{InstanceID: "stays", ActiveConnections: 11, MessagesSent: 110})
	tally.client(reports.Client{ClientID: "stays", Viewers: 3})
	clock.pass(5 * time.Second)
	totals := tally.Totals()
	assert.Equal(t, 2, totals.ReaderAPIs.TotalReaders, "15 s are not over")
	assert.Equal(t, 7, totals.Viewers.Viewers)

	clock.pass(time.Millisecond)
	totals = tally.Totals()
	assert.Equal(t, 1, totals.ReaderAPIs.TotalReaders)
	assert.Equal(t, 11, totals.ReaderAPIs.TotalActiveConnections)
	assert.Equal(t, uint64(110), totals.ReaderAPIs.TotalMessagesSent)
	assert.Equal(t, 3, totals.Viewers.Viewers)
	assert.Len(t, totals.Clients, 1)
}

func TestCopiesPerCommentIsOverTheWindowAndSurvivesRestarts(t *testing.T) {
	tally, clock := newTally(t)
	report := func(comments, first, second uint64) {
		tally.comment(reports.CommentAPI{InstanceID: "c", TotalComments: comments})
		tally.reader(reports.Reader{InstanceID: "r1", MessagesReceived: first, MessagesSent: 10 * first})
		tally.reader(reports.Reader{InstanceID: "r2", MessagesReceived: second, MessagesSent: 10 * second})
	}
	report(1000, 500, 500) // from before this tally began: not its own to count
	assert.Zero(t, tally.Totals().Rates.CopiesPerComment)
	clock.pass(10 * time.Second)
	report(1100, 580, 570)
	rates := tally.Totals().Rates
	assert.InDelta(t, 1.5, rates.CopiesPerComment, 1e-9)
	assert.InDelta(t, 10, rates.CommentsPerSecond, 1e-9)
	assert.InDelta(t, 15, rates.ReceivedPerSecond, 1e-9)
	assert.InDelta(t, 150, rates.DeliveriesPerSecond, 1e-9)

	clock.pass(10 * time.Second)
	report(1200, 20, 650) // r1 was restarted
	assert.InDelta(t, (150.0+100)/200, tally.Totals().Rates.CopiesPerComment, 1e-9)

	for range 4 {
		clock.pass(10 * time.Second)
		report(1200, 20, 650)
	}
	assert.Zero(t, tally.Totals().Rates.CopiesPerComment, "nothing was posted in the window")
	clock.pass(time.Minute)
	assert.Zero(t, tally.Totals().Rates.CommentsPerSecond)
}

func TestStoredCommentsCountsEveryInstanceOnceAlsoWhenItHasGone(t *testing.T) {
	tally, clock := newTally(t)
	tally.comment(reports.CommentAPI{InstanceID: "a", TotalComments: 5, CommentsByVideo: map[string]uint64{"v": 5}, ActiveTopicCount: 9})
	tally.comment(reports.CommentAPI{InstanceID: "b", TotalComments: 7, CommentsByVideo: map[string]uint64{"v": 1, "w": 6}})
	assert.Equal(t, uint64(12), tally.Totals().StoredComments)
	assert.Equal(t, map[string]uint64{"v": 6, "w": 6}, tally.Totals().CommentAPI.CommentsByVideo)
	clock.pass(time.Minute)
	assert.Equal(t, 0, tally.Totals().CommentAPI.Instances)
	tally.comment(reports.CommentAPI{InstanceID: "a", TotalComments: 6, ActiveTopicCount: 8})
	totals := tally.Totals()
	assert.Equal(t, uint64(13), totals.StoredComments)
	assert.Equal(t, uint64(6), totals.CommentAPI.TotalComments)
	assert.Equal(t, 8, totals.CommentAPI.ActiveTopicCount)
}

func TestAnOperatorSeesHowManyViewersTheFleetHasSentOnAndMoved(t *testing.T) {
	tally, clock := newTally(t)
	report := func(instance string, placement reports.Placement) {
		tally.reader(reports.Reader{InstanceID: instance, Placement: placement})
	}
	first := reports.Placement{Routing: "bounded", Redirects: 30, Placed: 12, Kept: 1, Moved: 5, Misplaced: 4, FleetReaders: 2}
	second := reports.Placement{Routing: "bounded", Redirects: 12, Placed: 29, Moved: 2, Misplaced: 3, FleetReaders: 2}
	report("r1", first)
	report("r2", second)
	all := tally.Totals().ReaderAPIs
	assert.Equal(t, "bounded", all.Routing)
	assert.Equal(t, uint64(42), all.TotalRedirects)
	assert.Equal(t, uint64(7), all.TotalMoved)
	assert.Equal(t, 7, all.TotalMisplaced)
	assert.Equal(t, first, all.Readers[0].Placement, "each reader's own figures stand beside the sums")
	assert.Equal(t, second, all.Readers[1].Placement)

	clock.pass(10 * time.Second)
	report("r1", reports.Placement{Routing: "bounded", Redirects: 31, Moved: 9})
	clock.pass(6 * time.Second)
	all = tally.Totals().ReaderAPIs
	assert.Equal(t, uint64(31), all.TotalRedirects, "what a reader says counts until it has been silent for long")
	assert.Equal(t, uint64(9), all.TotalMoved)
	assert.Zero(t, all.TotalMisplaced)
}

func TestTheRoutingIsNamedWhereAllReadersHaveTheSame(t *testing.T) {
	for name, test := range map[string]struct {
		routings []string
		want     string
	}{
		"no reader":                   {nil, ""},
		"one":                         {[]string{"random"}, "random"},
		"all alike":                   {[]string{"hash", "hash", "hash"}, "hash"},
		"a fleet that is changed":     {[]string{"hash", "bounded", "bounded"}, ""},
		"an older one that says none": {[]string{"bounded", ""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tally, _ := newTally(t)
			for i, routing := range test.routings {
				tally.reader(reports.Reader{InstanceID: fmt.Sprint("r", i), Placement: reports.Placement{Routing: routing}})
			}
			assert.Equal(t, test.want, tally.Totals().ReaderAPIs.Routing)
		})
	}
}
