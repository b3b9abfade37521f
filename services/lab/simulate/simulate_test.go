package simulate_test

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/simulate"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
)

// command is `lab simulate` without flags.
func command() simulate.Command {
	return simulate.Command{Scene: "full", CommentsPerMinute: 1, Registry: "round-robin", VirtualNodes: 160, Epsilon: 0.25, Seed: 1, Progress: io.Discard}
}

// run returns the output of a command, and the JSON that was printed.
func run(t *testing.T, c simulate.Command) (simulate.Output, string) {
	t.Helper()
	var printed bytes.Buffer
	c.JSON, c.Out = true, &printed
	require.NoError(t, c.Run(t.Context()))
	var output simulate.Output
	require.NoError(t, json.Unmarshal(printed.Bytes(), &output))
	return output, printed.String()
}

func find(t *testing.T, output simulate.Output, distribution popularity.Distribution, strategy placement.Name, readers int) simulate.Result {
	t.Helper()
	for _, result := range output.Results {
		if result.Popularity == distribution && result.Strategy == strategy && result.Readers == readers {
			return result
		}
	}
	require.Fail(t, "no such result")
	return simulate.Result{}
}

func TestTheFlawAndItsCureAtFullScale(t *testing.T) {
	c := command()
	c.Readers, c.Popularity = []int{14}, []popularity.Distribution{popularity.Uniform, popularity.Zipf}
	output, _ := run(t, c)

	flaw := find(t, output, popularity.Uniform, placement.Random, 14)
	assert.InDelta(t, 0.81, flaw.Share.Mean, 0.01)
	assert.InDelta(t, 11.3, flaw.CopiesPerComment, 0.2)
	assert.InDelta(t, 33_333*11.3, flaw.RedisDeliveries, 33_333*0.2)

	skewed := find(t, output, popularity.Zipf, placement.Random, 14)
	assert.Greater(t, skewed.MessageShare.Mean, 1.5*skewed.Share.Mean, "weighted by messages it is worse than by channels")

	hash, bounded := find(t, output, popularity.Zipf, placement.Hash, 14), find(t, output, popularity.Zipf, placement.Bounded, 14)
	assert.InDelta(t, 1, hash.CopiesPerComment, 1e-9)
	assert.LessOrEqual(t, bounded.CopiesPerComment, 1.3)
	assert.LessOrEqual(t, bounded.Busiest, 1.25+1e-4, "a reader has a whole number of viewers")
	assert.Greater(t, hash.Busiest, 1.25)
	for _, distribution := range c.Popularity {
		for _, strategy := range []placement.Name{placement.Hash, placement.Ring, placement.Bounded} {
			assert.LessOrEqual(t, find(t, output, distribution, strategy, 14).MovedWhenAdded, 1.5/15, "%s %s", distribution, strategy)
		}
	}
}

// deviation is the standard deviation of the share. The readers that have any of a video's n viewers are the occupied cells of
// the occupancy problem, whose variance is known.
func deviation(sizes []int, readers int) float64 {
	r, variance := float64(readers), 0.0
	for _, n := range sizes {
		one, two := math.Pow(1-1/r, float64(n)), math.Pow(1-2/r, float64(n))
		variance += r*(r-1)*two + r*one - r*r*one*one
	}
	return math.Sqrt(max(0, variance)) / r / float64(len(sizes))
}

func TestTheSimulationAgreesWithTheClosedForm(t *testing.T) {
	const videos, viewers = 9000, 200_000
	c := command()
	c.Videos, c.Viewers = ptr(videos), ptr(viewers)
	c.Readers, c.Strategies = []int{3, 14, 50, 200}, []placement.Name{placement.Random}
	for seed := range uint64(5) {
		c.Seed = seed
		output, _ := run(t, c)
		require.Len(t, output.Results, 12)
		for _, result := range output.Results {
			sizes, err := popularity.Audiences(result.Popularity, videos, viewers)
			require.NoError(t, err)
			assert.InDelta(t, result.ClosedForm.Share, result.Share.Mean, 5*deviation(sizes, result.Readers), "%s, %d readers", result.Popularity, result.Readers)
			assert.InEpsilon(t, result.ClosedForm.CopiesPerComment, result.CopiesPerComment, 0.01, "%s, %d readers", result.Popularity, result.Readers)
		}
	}
}

func TestOneFleetCanBePlacedByItself(t *testing.T) {
	c := command()
	c.Videos, c.Viewers, c.Readers = ptr(100), ptr(1000), []int{5}
	output, _ := run(t, c)
	for _, strategy := range placement.Names() {
		result, err := simulate.Place(output.Scene, popularity.Zipf, strategy, 5, placement.Options{VirtualNodes: 160, Epsilon: 0.25})
		require.NoError(t, err)
		assert.Equal(t, find(t, output, popularity.Zipf, strategy, 5), result)
	}
	_, err := simulate.Place(simulate.Scene{Videos: 2, Viewers: 1}, popularity.Zipf, placement.Hash, 5, placement.Options{})
	assert.Error(t, err)
}

func TestTheSmallScene(t *testing.T) {
	c := command()
	c.Scene = "small"
	output, _ := run(t, c)
	assert.InDelta(t, 0.8, find(t, output, popularity.ThreeTier, placement.Random, 5).Share.Mean, 0.05)
	for _, strategy := range []placement.Name{placement.Registry, placement.Hash} {
		result := find(t, output, popularity.ThreeTier, strategy, 5)
		assert.InDelta(t, 0.2, result.Share.Mean, 1e-9)
		assert.Greater(t, result.Busiest, 2.5, "the reader of the celebrity sinks under %s", strategy)
	}
}

func TestEveryFigureAddsUp(t *testing.T) {
	c := command()
	c.Videos, c.Viewers, c.Readers, c.CommentsPerMinute = ptr(500), ptr(20_000), []int{1, 7, 70}, 3
	output, _ := run(t, c)
	require.Len(t, output.Results, 3*3*5)
	const rate = 20_000 * 3.0 / 60
	for _, r := range output.Results {
		sizes, err := popularity.Audiences(r.Popularity, 500, 20_000)
		require.NoError(t, err)
		squares := 0.0
		for _, n := range sizes {
			squares += float64(n) * float64(n)
		}
		name := fmt.Sprint(r.Popularity, " ", r.Strategy, " ", r.Readers)
		assert.InEpsilon(t, r.CopiesPerComment, r.MessageShare.Mean*float64(r.Readers), 1e-9, name)
		assert.InEpsilon(t, rate*r.CopiesPerComment, r.RedisDeliveries, 1e-9, name)
		assert.InEpsilon(t, r.RedisDeliveries/float64(r.Readers), r.MessagesIn.Mean, 1e-9, name)
		assert.InEpsilon(t, squares*3/60, r.DeliveriesOut.Mean*float64(r.Readers), 1e-9, "%s: every viewer gets every comment of its video, wherever it is", name)
		assert.GreaterOrEqual(t, r.Busiest, 1.0, name)
		assert.LessOrEqual(t, r.Share.Max, 1+1e-9, name)
		if r.Readers == 1 {
			assert.InDelta(t, 1, r.Share.Min, 1e-9, name)
			assert.InDelta(t, 1, r.CopiesPerComment, 1e-9, name)
			assert.InDelta(t, 1, r.MovedWhenLost, 1e-9, name)
		}
	}
}

func TestTheSameSeedGivesTheSameBytes(t *testing.T) {
	c := command()
	c.Videos, c.Viewers, c.Readers = ptr(300), ptr(9000), []int{3, 8}
	_, one := run(t, c)
	_, again := run(t, c)
	assert.Equal(t, one, again)
	c.Seed = 2
	_, other := run(t, c)
	assert.NotEqual(t, one, other)
}

func TestTheFormsOfOutput(t *testing.T) {
	c := command()
	c.Scene = "small"
	page := filepath.Join(t.TempDir(), "report.html")
	var table bytes.Buffer
	c.Out, c.Report = &table, page
	require.NoError(t, c.Run(t.Context()))
	assert.Contains(t, table.String(), "100 videos, 2,500 viewers; comments: 1 per minute from each viewer, 42 per second from all")
	assert.Contains(t, table.String(), "busiest ÷ mean")
	for _, strategy := range placement.Names() {
		assert.Contains(t, table.String(), string(strategy))
	}
	html, err := os.ReadFile(page)
	require.NoError(t, err)
	assert.Contains(t, string(html), "three-tier")

	var values bytes.Buffer
	c.Report, c.CSV, c.Out = "", true, &values
	require.NoError(t, c.Run(t.Context()))
	rows, err := csv.NewReader(&values).ReadAll()
	require.NoError(t, err)
	require.Len(t, rows, 6)
	assert.Equal(t, []string{"popularity", "strategy", "readers"}, rows[0][:3])
	assert.Contains(t, rows[0], "busiest")
	assert.Equal(t, []string{"three-tier", "random", "5"}, rows[1][:3])
}

// A strategy that is added is offered by the help and drawn by the page.
func TestEveryStrategyIsNamedInTheHelpAndDescribedOnThePage(t *testing.T) {
	field, _ := reflect.TypeFor[simulate.Command]().FieldByName("Strategies")
	script, err := os.ReadFile("report/page.js")
	require.NoError(t, err)
	colours, err := os.ReadFile("../page/page.css")
	require.NoError(t, err)
	for _, strategy := range placement.Names() {
		assert.Regexp(t, `\b`+string(strategy)+`\b`, field.Tag.Get("help"))
		assert.Regexp(t, `\b`+string(strategy)+`: \{ width: .*, about: `, string(script))
		assert.Equal(t, 2, strings.Count(string(colours), " --"+string(strategy)+": "), "%s has a colour in light and in dark", strategy)
	}
}

func TestTheCommandThatIsShownGivesTheSameAgain(t *testing.T) {
	c := command()
	c.Scene, c.Readers, c.Epsilon, c.Strategies = "small", []int{4, 6}, 0.1, []placement.Name{placement.Hash, placement.Bounded}
	output, _ := run(t, c)
	assert.Equal(t, "lab simulate --scene=small --readers=4,6 --strategies=hash,bounded --epsilon=0.1", output.Command)
}

func TestBadFlagsAreOneSentence(t *testing.T) {
	for want, change := range map[string]func(*simulate.Command){
		"--scene must be full or small, not \"huge\"":                                  func(c *simulate.Command) { c.Scene = "huge" },
		"--readers must be from 1 to 1000, not 0":                                      func(c *simulate.Command) { c.Readers = []int{3, 0} },
		"--viewers must be from 1 to 50000000, not -5":                                 func(c *simulate.Command) { c.Viewers = ptr(-5) },
		"--videos must be from 1 to the number of viewers, 10, not 11":                 func(c *simulate.Command) { c.Videos, c.Viewers = ptr(11), ptr(10) },
		"--videos must be from 1 to the number of viewers, 2000000, not 0":             func(c *simulate.Command) { c.Videos = ptr(0) },
		`--strategies must be of random, registry, hash, ring, bounded, not "nearest"`: func(c *simulate.Command) { c.Strategies = []placement.Name{"nearest"} },
		`--popularity must be of uniform, three-tier, zipf, celebrity, not "normal"`:   func(c *simulate.Command) { c.Popularity = []popularity.Distribution{"normal"} },
		"--comments-per-minute must be from 0 to a million, not -1":                    func(c *simulate.Command) { c.CommentsPerMinute = -1 },
		"--comments-per-minute must be from 0 to a million, not NaN":                   func(c *simulate.Command) { c.CommentsPerMinute = math.NaN() },
		`--registry must be round-robin or least-loaded, not "any"`:                    func(c *simulate.Command) { c.Registry = "any" },
		"--virtual-nodes=0 --epsilon=0.25: virtual nodes must be from 1 to 10000, not 0": func(c *simulate.Command) {
			c.VirtualNodes = 0
		},
		"--report: open /nowhere/report.html: no such file or directory": func(c *simulate.Command) { c.Report = "/nowhere/report.html" },
	} {
		c := command()
		change(&c)
		var printed bytes.Buffer
		c.Out = &printed
		err := c.Run(t.Context())
		require.EqualError(t, err, want)
		var bad *config.Error
		require.ErrorAs(t, err, &bad, "exit status 2")
		assert.Empty(t, printed.String())
	}
}

func TestNothingIsDividedByNoComments(t *testing.T) {
	c := command()
	c.Scene, c.CommentsPerMinute = "small", 0
	_, printed := run(t, c)
	assert.NotContains(t, strings.ToLower(printed), "nan")
}

func ptr(n int) *int { return &n }

// BenchmarkSimulate measures the time of a simulation by the number of viewers, to which it must be proportional.
func BenchmarkSimulate(b *testing.B) {
	for _, times := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("%dx", times), func(b *testing.B) {
			viewers := times * 2_000_000
			for b.Loop() {
				c := command()
				c.Viewers, c.Readers, c.Popularity = &viewers, []int{14}, []popularity.Distribution{popularity.Zipf}
				c.JSON, c.Out = true, io.Discard
				require.NoError(b, c.Run(b.Context()))
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(viewers), "ns/viewer")
		})
	}
}
