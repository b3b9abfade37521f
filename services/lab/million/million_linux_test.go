package million_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/lab/million"
	"github.com/livecomments/livecomments/services/lab/million/audience"
	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/placement"
	"github.com/livecomments/livecomments/services/shared/server"
)

// The crowds and the readers of the tests are this program once more.
func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 1 && os.Args[1] == "crowd":
		if err := (&audience.Command{}).Run(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case os.Getenv("ADVERTISE_URL") != "":
		os.Exit(server.Main("reader", api.Run))
	default:
		goleak.VerifyTestMain(m)
	}
}

// command is a scene of 400 viewers on 18 videos, which ends soon.
func command(t *testing.T) (c *million.Command, out *bytes.Buffer) {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	out = &bytes.Buffer{}
	return &million.Command{
		Scale: 0.0004, Rate: 200, Quiet: time.Millisecond, Reader: program, Lab: program, Out: out, Progress: t.Output(),
	}, out
}

func TestViewersOfBothRoutingsGetEveryComment(t *testing.T) {
	c, out := command(t)
	c.JSON = true
	require.NoError(t, c.Run(t.Context()), out)
	var output million.Output
	require.NoError(t, json.Unmarshal(out.Bytes(), &output))
	assert.Equal(t, [...]int{400, 18, 3, 1}, [...]int{output.Viewers, output.Videos, output.Readers, output.Crowds})
	require.Len(t, output.Routings, 2)
	for _, r := range output.Routings {
		assert.Equal(t, 400, r.Connected)
		assert.InDelta(t, 400./3, r.PerReader.Mean, 1e-9)
		assert.EqualValues(t, 2*400, r.Deliveries)
		assert.Zero(t, r.Lost+r.Duplicates+r.Misordered+r.Gaps)
		assert.Zero(t, r.TwiceSentOn+r.Failed+r.Misplaced)
		assert.InDelta(t, r.ShareSimulated, r.Share.Mean, 0.1)
		assert.InDelta(t, r.Share.Mean*3, r.Copies, 1e-9, "readers receive what they are subscribed to")
		for _, part := range []int{r.Memory.Readers, r.Memory.Viewers, r.Memory.Redis} {
			assert.Positive(t, part)
		}
		assert.Positive(t, r.ReadersMicros)
		assert.Positive(t, r.RedisMicros)
		assert.Positive(t, r.Latency.P50)
	}
	random, bounded := output.Routings[0], output.Routings[1]
	assert.Equal(t, placement.Random, random.Routing)
	assert.Zero(t, random.Redirects)
	assert.InDelta(t, random.ShareSimulated, *random.ShareClosedForm, 0.01)
	assert.Equal(t, placement.Bounded, bounded.Routing)
	assert.Greater(t, bounded.Redirects, 200)
	assert.Nil(t, bounded.ShareClosedForm)
	assert.Less(t, bounded.Copies, random.Copies/1.5)
}

func TestTheTableShowsEachRouting(t *testing.T) {
	c, out := command(t)
	c.Routings = []placement.Name{placement.Hash}
	require.NoError(t, c.Run(t.Context()))
	assert.Regexp(t, `viewers with a stream +│ +400`, out)
	assert.Regexp(t, `hash`, out)
	assert.Contains(t, out.String(), "met: hash: 400 of 400 viewers had a stream at the same time")
	assert.NotContains(t, out.String(), "NOT met: hash: 0 deliveries")
}

func TestASceneThatIsStoppedLeavesNothingBehind(t *testing.T) {
	c, _ := command(t)
	c.Quiet = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	require.EqualError(t, c.Run(ctx), "stopped before the end")
}

func TestABadSettingIsNamed(t *testing.T) {
	ring := []placement.Name{placement.Ring}
	for name, test := range map[string]struct {
		change func(*million.Command)
		says   string
	}{
		"scale, too small": {func(c *million.Command) { c.Scale = -1 }, "--scale must be from 0.0001 to 4, not -1"},
		"scale, no number": {func(c *million.Command) { c.Scale = math.NaN() }, "--scale must be from 0.0001 to 4, not NaN"},
		"routing":          {func(c *million.Command) { c.Routings = ring }, `--routing must be of random, hash, bounded, not "ring"`},
		"bound":            {func(c *million.Command) { c.LoadBound = -1 }, "--load-bound must be from 0.01 to 10, not -1"},
		"rate":             {func(c *million.Command) { c.Rate = -1 }, "--rate must be from 1 to 100000, not -1"},
		"readers":          {func(c *million.Command) { c.Readers = -1 }, "--readers must be at least 1, not -1"},
		"reader":           {func(c *million.Command) { c.Reader = "nowhere/reader" }, "--reader: "},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := command(t)
			test.change(c)
			require.ErrorContains(t, c.Run(t.Context()), test.says)
		})
	}
}
