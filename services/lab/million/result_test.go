package million

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/crowd"
)

func TestWhatDidNotArriveIsLost(t *testing.T) {
	began := time.Now()
	before := used{at: began, readers: time.Second}
	after := used{at: began.Add(2 * time.Second), readers: 2 * time.Second}
	for name, test := range map[string]struct {
		seen crowd.Figures
		lost uint64
	}{
		"all":                    {crowd.Figures{Arrived: 100}, 0},
		"the last ones":          {crowd.Figures{Arrived: 93}, 7},
		"seen to be missing":     {crowd.Figures{Arrived: 93, Missing: 7}, 7},
		"duplicates are no gain": {crowd.Figures{Arrived: 100, Duplicates: 7}, 7},
		"nothing":                {crowd.Figures{}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			o := Output{Viewers: 10, Routings: []Result{{Routing: "random", Connected: 10}}}
			r := &o.Routings[0]
			r.delivered(test.seen, 100, before, after)
			assert.Equal(t, test.lost, r.Lost)
			o.Goals = o.goals()
			if test.lost > 0 {
				require.ErrorContains(t, o.failure(), "lost")
			} else {
				require.NoError(t, o.failure())
				assert.InDelta(t, 10_000, r.ReadersMicros, 1e-9)
			}
		})
	}
}

func TestASceneFailsWhereViewersAreMissingOrSentOnTwice(t *testing.T) {
	o := Output{Viewers: 1_000_000, Routings: []Result{
		{Routing: "random", Connected: 999_999}, {Routing: "bounded", Connected: 1_000_000, TwiceSentOn: 3},
	}}
	o.Goals = o.goals()
	require.EqualError(t, o.failure(), "random: 999,999 of 1,000,000 viewers had a stream at the same time; "+
		"bounded: 3 times a viewer was sent on twice in one connect (never)")
}

func TestASceneThatDoesNotFitIsNotBegun(t *testing.T) {
	c := Command{Scale: 4, viewers: 1_000_000_000}
	require.ErrorContains(t, c.fits(), "--scale=4 needs about 12397.8 GB of memory, and ")
}

func TestThousandsAreSeparated(t *testing.T) {
	for number, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 45_000: "45,000", 1_000_000: "1,000,000"} {
		assert.Equal(t, want, thousands(number))
	}
}
