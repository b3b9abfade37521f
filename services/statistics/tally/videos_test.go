package tally_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/shared/reports"
)

// perVideo are what a Comment API has counted of so many videos.
func perVideo(videos int, each uint64) map[string]uint64 {
	counts := map[string]uint64{}
	for i := range videos {
		counts[fmt.Sprintf("v%03d", i)] = each
	}
	return counts
}

func TestTheCommentsOfAVideoAreCountedOverTheLastHalfToWholeWindow(t *testing.T) {
	tally, clock := newTally(t)
	rate := func() float64 { return tally.Totals().CommentAPI.CommentsPerSecondByVideo["v"] }
	counts := map[string]uint64{"a": 0, "b": 1000}
	report := func(perSecond uint64) {
		clock.pass(time.Second)
		for id := range counts {
			counts[id] += perSecond
			tally.comment(reports.CommentAPI{InstanceID: id, CommentsByVideo: map[string]uint64{"v": counts[id]}})
		}
	}
	report(10)
	assert.Zero(t, rate(), "what was counted before the first report is in no rate")
	for range 40 {
		report(10)
		assert.InDelta(t, 20, rate(), 1e-9, "of both instances")
	}
	for range 16 {
		report(0)
	}
	assert.Less(t, rate(), 20.0)
	for range 15 {
		report(0)
	}
	assert.Zero(t, rate())
}

func TestWhatAVideoHadBeforeItWasListedIsNotGuessed(t *testing.T) {
	for name, test := range map[string]struct {
		before int // videos that are listed before it
		known  bool
	}{
		"others were left out, it may have been one of them": {reports.ListCap, false},
		"all were listed, it had none":                       {reports.ListCap - 1, true},
	} {
		t.Run(name, func(t *testing.T) {
			tally, clock := newTally(t)
			tally.comment(reports.CommentAPI{InstanceID: "c", CommentsByVideo: perVideo(test.before, 5)})
			clock.pass(time.Second)
			counts := perVideo(reports.ListCap-1, 5)
			counts["new"] = 30
			tally.comment(reports.CommentAPI{InstanceID: "c", CommentsByVideo: counts})
			rate, known := tally.Totals().CommentAPI.CommentsPerSecondByVideo["new"]
			assert.Equal(t, test.known, known)
			if known {
				assert.InDelta(t, 30, rate, 1e-9)
			}
		})
	}
}

func TestAReadersRatesAndCPUAreItsOwnAlsoAfterARestart(t *testing.T) {
	tally, clock := newTally(t)
	report := func(id string, process uint64, seconds float64) {
		tally.reader(reports.Reader{
			InstanceID: id, Sender: reports.Sender{Process: process}, MessagesReceived: uint64(10 * seconds), MessagesSent: uint64(100 * seconds),
			Usage: reports.Usage{OSProcess: process, CPUSeconds: 0.5 * seconds},
		})
	}
	for second := range 5 {
		report("a", 1, float64(second))
		report("b", 2, 10*float64(second))
		clock.pass(time.Second)
	}
	readers := tally.Totals().ReaderAPIs.Readers
	for i, factor := range []float64{1, 10} {
		assert.InDelta(t, 10*factor, readers[i].ReceivedPerSecond, 1e-9)
		assert.InDelta(t, 100*factor, readers[i].DeliveriesPerSecond, 1e-9)
		assert.InDelta(t, 0.5*factor, readers[i].CPU, 1e-6)
	}
	report("a", 3, 1)
	assert.InDelta(t, 0.5, tally.Totals().ReaderAPIs.Readers[0].CPU, 1e-6)
}

func TestReadersOfOneProcessSayThatItsCPUIsThatOfAll(t *testing.T) {
	tally, _ := newTally(t)
	for id, process := range map[string]uint64{"a": 7, "b": 7, "c": 8, "d": 0, "e": 0} {
		tally.reader(reports.Reader{InstanceID: id, Usage: reports.Usage{OSProcess: process}})
	}
	shared := map[string]bool{}
	for _, reader := range tally.Totals().ReaderAPIs.Readers {
		shared[reader.InstanceID] = reader.Shared
	}
	assert.Equal(t, map[string]bool{"a": true, "b": true, "c": false, "d": false, "e": false}, shared)
}
