package tally_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// said is one report of a process of the instance "r": how many streams and messages it has, after some time.
type said struct {
	after       time.Duration
	process     uint64
	connections int
	sent        uint64
}

func TestARestartedInstanceReplacesItselfAndTwoOfOneNameBothCount(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		reports    []said
		readers    int
		streams    int
		sent       uint64
		duplicates []string
		warnings   int
	}{
		"an instance alone":      {[]said{{0, 1, 5, 50}, {2 * second, 1, 6, 60}}, 1, 6, 60, []string{}, 0},
		"one that was restarted": {[]said{{0, 1, 5, 50}, {2 * second, 2, 1, 10}}, 1, 1, 10, []string{}, 0},
		"one that restarts over and over": {
			[]said{{0, 1, 5, 50}, {second, 2, 5, 50}, {second, 3, 5, 50}, {second, 4, 7, 70}}, 1, 7, 70, []string{}, 0,
		},
		"two of one name": {
			[]said{{0, 1, 5, 50}, {second, 2, 3, 30}, {second, 1, 6, 60}, {second, 2, 4, 40}, {second, 1, 6, 60}}, 2, 10, 100, []string{"r"}, 1,
		},
		"three of one name": {
			[]said{{0, 1, 5, 50}, {0, 2, 3, 30}, {0, 3, 1, 10}, {second, 1, 5, 50}, {0, 2, 3, 30}, {0, 3, 1, 10}}, 3, 9, 90, []string{"r"}, 1,
		},
		"a third that starts beside two": {
			[]said{{0, 1, 5, 50}, {0, 2, 3, 30}, {second, 1, 5, 50}, {second, 3, 1, 10}, {second, 1, 5, 50}, {0, 2, 3, 30}}, 3, 9, 90, []string{"r"}, 1,
		},
		"two, of which one has stopped": {
			[]said{{0, 1, 5, 50}, {0, 2, 3, 30}, {0, 1, 5, 50}, {10 * second, 1, 5, 50}, {10 * second, 1, 5, 50}, {10 * second, 1, 5, 50}}, 1, 5, 50, []string{}, 1,
		},
		"two, which were stopped for one": {
			[]said{{0, 1, 5, 50}, {0, 2, 3, 30}, {0, 1, 5, 50}, {second, 3, 8, 80}, {10 * second, 3, 8, 80}, {10 * second, 3, 8, 80}}, 1, 8, 80, []string{}, 1,
		},
		"two again, after one had the name": {
			[]said{{0, 1, 5, 50}, {0, 2, 3, 30}, {0, 1, 5, 50}, {20 * second, 1, 5, 50}, {0, 2, 3, 30}}, 2, 8, 80, []string{"r"}, 2,
		},
		"one that was silent and comes back":       {[]said{{0, 1, 5, 50}, {time.Minute, 1, 6, 60}}, 1, 6, 60, []string{}, 0},
		"the older one, when the newer has gone":   {[]said{{0, 1, 5, 50}, {0, 2, 3, 30}, {time.Minute, 1, 6, 60}}, 1, 6, 60, []string{}, 0},
		"one that gives no number":                 {[]said{{0, 0, 5, 50}, {second, 0, 6, 60}}, 1, 6, 60, []string{}, 0},
		"one that gives none and starts to":        {[]said{{0, 0, 5, 50}, {second, 1, 1, 10}}, 1, 1, 10, []string{}, 0},
		"one that gives none beside one that does": {[]said{{0, 0, 5, 50}, {second, 1, 1, 10}, {second, 0, 6, 60}}, 2, 7, 70, []string{"r"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			tally, clock, logs := newLogged(t, 100)
			for _, one := range test.reports {
				clock.pass(one.after)
				tally.reader(reports.Reader{InstanceID: "r", Sender: reports.Sender{Process: one.process}, ActiveConnections: one.connections, MessagesSent: one.sent})
			}
			totals := tally.Totals()
			assert.Equal(t, test.readers, totals.ReaderAPIs.TotalReaders)
			assert.Len(t, totals.ReaderAPIs.Readers, test.readers)
			assert.Equal(t, test.streams, totals.ReaderAPIs.TotalActiveConnections)
			assert.Equal(t, test.sent, totals.ReaderAPIs.TotalMessagesSent)
			assert.Equal(t, test.duplicates, totals.DuplicateInstanceIDs)
			assert.Equal(t, len(test.duplicates), totals.DuplicateInstanceIDCount)
			assert.Equal(t, test.warnings, logs.Len())
			for _, entry := range logs.All() {
				assert.Equal(t, "several instances have one INSTANCE_ID", entry.Message)
				assert.Equal(t, map[string]any{"kind": "reader", "id": "r"}, entry.ContextMap())
			}
		})
	}
}

// commented is one report of a Comment API: how many comments it has taken since its process started, after some time.
type commented struct {
	after    time.Duration
	id       string
	process  uint64
	comments uint64
}

func TestStoredCommentsCountsEachCommentOnce(t *testing.T) {
	const second = time.Second
	for name, test := range map[string]struct {
		reports []commented
		stored  uint64
	}{
		"two instances":                     {[]commented{{0, "a", 1, 5}, {0, "b", 2, 7}, {second, "a", 1, 6}}, 13},
		"one that has stopped":              {[]commented{{0, "a", 1, 5}, {0, "b", 2, 7}, {time.Hour, "b", 2, 8}}, 13},
		"one that was silent for an hour":   {[]commented{{0, "a", 1, 5}, {time.Hour, "a", 1, 6}}, 6},
		"one that was restarted":            {[]commented{{0, "a", 1, 5}, {second, "a", 2, 1}, {second, "a", 2, 2}}, 7},
		"one that overtook itself":          {[]commented{{0, "a", 1, 5}, {second, "a", 2, 9}}, 14},
		"one without a number, restarted":   {[]commented{{0, "a", 0, 5}, {second, "a", 0, 2}}, 7},
		"one without a number, silent":      {[]commented{{0, "a", 0, 5}, {time.Hour, "a", 0, 6}}, 6},
		"ones without a name or a number":   {[]commented{{0, "", 0, 5}, {second, "", 0, 6}}, 6},
		"two of one name":                   {[]commented{{0, "a", 1, 5}, {0, "a", 2, 7}, {second, "a", 1, 6}, {0, "a", 2, 8}, {second, "a", 1, 7}}, 15},
		"two of one name, and silent":       {[]commented{{0, "a", 1, 5}, {0, "a", 2, 7}, {0, "a", 1, 5}, {time.Hour, "a", 1, 6}, {0, "a", 2, 8}}, 14},
		"the older one, after it was taken": {[]commented{{0, "a", 1, 5}, {0, "a", 2, 7}, {time.Hour, "a", 1, 5}}, 12},
	} {
		t.Run(name, func(t *testing.T) {
			tally, clock := newTally(t)
			for _, one := range test.reports {
				clock.pass(one.after)
				tally.comment(reports.CommentAPI{InstanceID: one.id, Sender: reports.Sender{Process: one.process}, TotalComments: one.comments})
			}
			assert.Equal(t, test.stored, tally.Totals().StoredComments)
		})
	}
}

func TestInstancesBeyondTheMaximumAreRefusedUntilOthersGo(t *testing.T) {
	tally, clock, logs := newLogged(t, 2)
	comment := func(id string, process, comments uint64) error {
		return tally.TakeComment(reports.CommentAPI{InstanceID: id, Sender: reports.Sender{Process: process}, TotalComments: comments})
	}
	require.NoError(t, comment("a", 1, 1))
	require.NoError(t, comment("b", 2, 1))
	for range 50 {
		require.EqualError(t, comment("c", 3, 100), "2 comment instances report already, as many as MAX_INSTANCES admits; this one is refused")
	}
	assert.Equal(t, uint64(2), tally.Totals().StoredComments)
	assert.Equal(t, 1, logs.Len(), "a flood of reports is no flood of lines")
	assert.InDelta(t, 50, refused(t, tally, "comment"), 0)
	require.NoError(t, comment("a", 1, 2), "those who are in stay in")
	require.NoError(t, comment("b", 4, 1), "also when they are restarted")
	require.Error(t, comment("b", 2, 1), "but not in two places")
	tally.reader(reports.Reader{InstanceID: "c"})
	tally.reader(reports.Reader{InstanceID: "d"})
	require.Error(t, tally.TakeReader(reports.Reader{InstanceID: "e"}), "each kind has a maximum of its own")
	tally.client(reports.Client{ClientID: "e"})
	tally.client(reports.Client{ClientID: "f"})
	require.Error(t, tally.TakeClient(reports.Client{ClientID: "g"}))

	clock.pass(16 * time.Second)
	require.NoError(t, comment("c", 3, 100))
	require.NoError(t, comment("b", 2, 3))
	assert.Equal(t, uint64(2+1+1+100+2), tally.Totals().StoredComments)
	require.Error(t, comment("a", 1, 2), "one that was silent has no place any more")
}

// A Tally must not grow with every name that somebody invents, nor with every number.
func TestInventedInstancesAreForgotten(t *testing.T) {
	tally, clock, _ := newLogged(t, 10)
	tally.comment(reports.CommentAPI{InstanceID: "real", Sender: reports.Sender{Process: 1}, TotalComments: 5})
	for i := range 1000 {
		tally.comment(reports.CommentAPI{InstanceID: fmt.Sprint("invented-", i), Sender: reports.Sender{Process: 7}, TotalComments: 1})
		tally.comment(reports.CommentAPI{InstanceID: "restarts", Sender: reports.Sender{Process: uint64(i)}, TotalComments: 1})
		if i%2 == 0 {
			clock.pass(8 * time.Second)
			tally.comment(reports.CommentAPI{InstanceID: "real", Sender: reports.Sender{Process: 1}, TotalComments: 5 + uint64(i)})
		}
	}
	assert.Equal(t, uint64(5+998+1000+1000), tally.Totals().StoredComments, "what reported all the time is counted once")
	reporting, remembered := tally.Sizes()
	assert.LessOrEqual(t, reporting, 10)
	assert.Equal(t, 100, remembered)
}

func TestReadersOfOneNameHaveLabelsOfTheirOwn(t *testing.T) {
	tally, _ := newTally(t)
	tally.reader(reports.Reader{InstanceID: "s", SubscribedTopics: []string{"a"}})
	for _, process := range []uint64{1, 2, 1} {
		tally.reader(reports.Reader{InstanceID: "r", Sender: reports.Sender{Process: process}, SubscribedTopics: []string{"a", "b"}[:process]})
	}
	require.NoError(t, testutil.CollectAndCompare(tally, strings.NewReader(`
# HELP livecomments_duplicate_instance_ids INSTANCE_IDs that several instances of one kind have.
# TYPE livecomments_duplicate_instance_ids gauge
livecomments_duplicate_instance_ids 1
# HELP livecomments_subscription_share A reader's topics ÷ all topics that a reader is subscribed to, 0 to 1. Readers of one INSTANCE_ID have the number of their process after it.
# TYPE livecomments_subscription_share gauge
livecomments_subscription_share{reader="r#1"} 0.5
livecomments_subscription_share{reader="r#2"} 1
livecomments_subscription_share{reader="s"} 0.5
`), "livecomments_duplicate_instance_ids", "livecomments_subscription_share"))
}

func TestWhatRedisWasAskedComesBeforeWhatIsReported(t *testing.T) {
	tally, clock := newTally(t)
	tally.comment(reports.CommentAPI{InstanceID: "old", ActiveTopics: []string{"a", "b"}, TopicSubscribers: map[string]int64{"a": 2, "b": 1}})
	clock.pass(time.Second)
	tally.comment(reports.CommentAPI{InstanceID: "new"})
	all := tally.Totals().CommentAPI
	assert.Equal(t, []string{"a", "b"}, all.ActiveTopics, "a newer report that says nothing of topics changes nothing")
	assert.Equal(t, 2, all.ActiveTopicCount)

	tally.SetTopics(90_000, map[string]int64{"d": 1, "c": 3})
	all = tally.Totals().CommentAPI
	assert.Equal(t, []string{"c", "d"}, all.ActiveTopics)
	assert.Equal(t, map[string]int64{"c": 3, "d": 1}, all.TopicSubscribers)
	assert.Equal(t, 90_000, all.ActiveTopicCount)
	clock.pass(time.Hour)
	assert.Equal(t, 90_000, tally.Totals().CommentAPI.ActiveTopicCount, "it stands")
	tally.SetTopics(0, map[string]int64{})
	all = tally.Totals().CommentAPI
	assert.Equal(t, []string{}, all.ActiveTopics)
	assert.Equal(t, 0, all.ActiveTopicCount)
}

func TestTheListsOfAReportAreCapped(t *testing.T) {
	tally, _ := newTally(t)
	subscribers, comments := map[string]int64{}, map[string]uint64{}
	for i, topic := range topics(5000) {
		subscribers[topic], comments[topic] = 1, uint64(i)
	}
	tally.comment(reports.CommentAPI{ActiveTopics: topics(5000), TopicSubscribers: subscribers, CommentsByVideo: comments})
	all := tally.Totals().CommentAPI
	assert.Len(t, all.ActiveTopics, reports.ListCap)
	assert.Len(t, all.TopicSubscribers, reports.ListCap)
	assert.Len(t, all.CommentsByVideo, reports.ListCap)
	assert.Equal(t, 5000, all.ActiveTopicCount)
	assert.Equal(t, 5000, all.CommentedVideos)
}

// refused is how many reports of a kind the metrics say were refused.
func refused(t *testing.T, tally taker, kind string) float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	require.NoError(t, registry.Register(tally))
	families, err := registry.Gather()
	require.NoError(t, err)
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if family.GetName() == "livecomments_reports_refused_total" && metric.GetLabel()[0].GetValue() == kind {
				return metric.GetCounter().GetValue()
			}
		}
	}
	require.FailNow(t, "no such metric")
	return 0
}
