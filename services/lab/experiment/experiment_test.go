package experiment_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/lab/experiment"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/redisserver"
)

// bin has the binaries of the services.
var bin string

func TestMain(m *testing.M) {
	var err error
	if bin, err = os.MkdirTemp("", "livecomments-experiment-test-"); err != nil {
		panic(err)
	}
	const services = "github.com/livecomments/livecomments/services/"
	build := exec.Command("go", "build", "-o", bin+"/", services+"reader", services+"comment", services+"client")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(bin)
		os.Exit(code)
	}))
}

// command is an experiment with few viewers.
func command() experiment.Command {
	return experiment.Command{
		Scene: "default", Routings: []placement.Name{placement.Random, placement.Bounded}, Readers: []int{2}, Videos: 6, Viewers: 24,
		Popularity: []popularity.Distribution{popularity.Uniform}, CommentsPerMinute: 200, Seconds: 1, Bin: bin, Progress: io.Discard,
	}
}

// run returns what an experiment measures.
func run(t *testing.T, c experiment.Command) experiment.Output {
	t.Helper()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	if _, err := redisserver.Version(t.Context()); err != nil {
		t.Skip(err)
	}
	var printed bytes.Buffer
	c.JSON, c.Out = true, &printed
	require.NoError(t, c.Run(t.Context()))
	var output experiment.Output
	require.NoError(t, json.Unmarshal(printed.Bytes(), &output))
	return output
}

func TestTheRunningSystemIsMeasuredBesideItsSimulation(t *testing.T) {
	c := command()
	c.Only = []string{"matrix"}
	output := run(t, c)
	require.Len(t, output.Fleets, 2)
	for _, fleet := range output.Fleets {
		require.NoError(t, fleet.Verification.Err())
		assert.InDelta(t, 12, fleet.Viewers.Mean, 0, "all viewers are on one of two readers")
		assert.Positive(t, fleet.DeliveriesPerSecond)
		assert.Positive(t, fleet.LatencyMillis.Count)
		assert.Positive(t, fleet.CPU.Readers)
		assert.Positive(t, fleet.CPU.Redis)
		assert.Zero(t, fleet.CPU.Proxy)
		assert.NotNil(t, fleet.Simulated)
	}
	random, bounded := output.Fleets[0], output.Fleets[1]
	assert.Zero(t, random.SentOn)
	assert.Greater(t, random.CopiesPerComment, 1.0)
	assert.InDelta(t, 0.9375, random.ClosedForm.Share, 0, "1-(1-1/2)^4")
	assert.Positive(t, bounded.SentOn)
	assert.InDelta(t, 1, bounded.CopiesPerComment, 1e-9, "videos of four viewers stay whole")
	assert.InDelta(t, 0.5, bounded.Share.Mean, 1e-9)
}

func TestAQuietAudienceIsMeasuredAtItsFirstComment(t *testing.T) {
	c := command()
	c.Only, c.Routings, c.CommentsPerMinute = []string{"matrix"}, []placement.Name{placement.Bounded}, 0.5 // one in five seconds
	output := run(t, c)
	require.Len(t, output.Fleets, 1)
	assert.Positive(t, output.Fleets[0].CommentsPerSecond)
	assert.InDelta(t, 1, output.Fleets[0].CopiesPerComment, 1e-9)
}

func TestABalancerInFrontIsMeasuredToo(t *testing.T) {
	if !experiment.HasHAProxy() {
		t.Skip("haproxy is not installed")
	}
	c := command()
	c.Only = []string{"proxy"}
	output := run(t, c)
	require.Len(t, output.Fleets, 1)
	assert.True(t, output.Fleets[0].Proxy)
	assert.Positive(t, output.Fleets[0].CPU.Proxy)
	assert.Nil(t, output.Fleets[0].Simulated)
	assert.NoError(t, output.Fleets[0].Verification.Err())
}

func TestTheTimeToTheFirstEventIsMeasuredWithRedirectsAndWithout(t *testing.T) {
	c := command()
	c.Only, c.Report = []string{"redirect"}, filepath.Join(t.TempDir(), "report.html")
	output := run(t, c)
	require.Len(t, output.Connecting, 2)
	assert.Zero(t, output.Connecting[0].SentOn)
	assert.Positive(t, output.Connecting[1].SentOn)
	for _, connecting := range output.Connecting {
		assert.GreaterOrEqual(t, connecting.FirstEventMillis.Count, int64(24))
	}
	page, err := os.ReadFile(c.Report)
	require.NoError(t, err)
	assert.Contains(t, string(page), `"firstEventMillis"`)
}

func TestWhenAReaderIsKilledItsViewersAreWithoutAStreamForAWhileAndMissNothing(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	for _, routing := range []placement.Name{placement.Random, placement.Hash} {
		c := command()
		change, err := c.KillAReader(t.Context(), routing, 2)
		require.NoError(t, err)
		require.NoError(t, change.Verification.Err())
		assert.True(t, change.Settled)
		assert.Positive(t, change.Reconnects)
		// A viewer may have been moved before, and been without a stream for that.
		assert.GreaterOrEqual(t, change.OutageMillis.Count, int64(change.Reconnects))
		assert.InDelta(t, 1, change.Share.Mean, 1e-9, "one reader is left for all videos")
	}
}

func TestABadFlagIsNamedInOneLine(t *testing.T) {
	for want, change := range map[string]func(*experiment.Command){
		`--scene must be default or million, not "small"`:                                 func(c *experiment.Command) { c.Scene = "small" },
		`--only must be of matrix, proxy, changes, redirect, not "all"`:                   func(c *experiment.Command) { c.Only = []string{"all"} },
		`--routings must be of random, hash, bounded, not "ring"`:                         func(c *experiment.Command) { c.Routings = []placement.Name{"ring"} },
		"--readers, --routings and --popularity must each have a value":                   func(c *experiment.Command) { c.Routings = nil },
		"--scale must be more than 0, not -1":                                             func(c *experiment.Command) { c.Scene, c.Scale = "million", -1 },
		"--readers must be from 1 to 50, not 0":                                           func(c *experiment.Command) { c.Readers = []int{3, 0} },
		`--popularity must be of uniform, three-tier, zipf, celebrity, not "normal"`:      func(c *experiment.Command) { c.Popularity = []popularity.Distribution{"normal"} },
		"--viewers must be from 21 to 10000, not 0":                                       func(c *experiment.Command) { c.Viewers = 0 },
		"--viewers must be from 21 to 10000, not 20":                                      func(c *experiment.Command) { c.Viewers, c.Videos = 20, 1 },
		"--videos must be from 1 to the number of viewers, 24, not 25":                    func(c *experiment.Command) { c.Videos = 25 },
		"--comments-per-minute must be more than 0 and at most 600, not 0":                func(c *experiment.Command) { c.CommentsPerMinute = 0 },
		"--seconds must be from 1 to 600, not 0":                                          func(c *experiment.Command) { c.Seconds = 0 },
		"--report: open /nowhere/x.html: no such file or directory":                       func(c *experiment.Command) { c.Report = "/nowhere/x.html" },
		`--bin: exec: "/nowhere/reader": stat /nowhere/reader: no such file or directory`: func(c *experiment.Command) { c.Bin = "/nowhere" },
	} {
		c := command()
		change(&c)
		err := c.Run(t.Context())
		require.EqualError(t, err, want)
		var bad *config.Error
		assert.ErrorAs(t, err, &bad, "exit status 2")
	}
}
