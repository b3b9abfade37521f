package descriptor_test

import (
	"math"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/descriptor"
)

func TestNearlyAllDescriptorsAreForStreamsAndFewLeaveRoomForTheRest(t *testing.T) {
	for limit, want := range map[int]descriptor.Budget{
		3:           {Connections: 2, Streams: 1},
		48:          {Connections: 32, Streams: 16},
		64:          {Connections: 43, Streams: 22},
		256:         {Connections: 171, Streams: 107},
		1024:        {Connections: 904, Streams: 840},
		20_000:      {Connections: 19_880, Streams: 19_816},
		math.MaxInt: {Connections: math.MaxInt - 120, Streams: math.MaxInt - 184},
		1_048_576:   {Connections: 1_048_456, Streams: 1_048_392},
	} {
		assert.Equal(t, want, descriptor.Share(limit), "of %d", limit)
	}
	for limit := 3; limit < 2000; limit++ {
		less, more := descriptor.Share(limit), descriptor.Share(limit+1)
		assert.GreaterOrEqual(t, more.Streams, less.Streams, "one descriptor more than %d takes no stream away", limit)
		assert.GreaterOrEqual(t, more.Connections, less.Connections)
		assert.Positive(t, less.Streams)
	}
}

func TestTheLimitIsTheOneThatTheShellHasSet(t *testing.T) {
	if os.Getenv("PRINT_LIMIT") != "" {
		assert.Equal(t, 48, descriptor.Limit())
		return
	}
	if _, err := exec.LookPath("sh"); err != nil {
		t.Skip("no shell here")
	}
	child := exec.Command("sh", "-c", `ulimit -n 48 && exec "$0" -test.run=^TestTheLimitIsTheOneThatTheShellHasSet$`, os.Args[0])
	child.Env = append(os.Environ(), "PRINT_LIMIT=1")
	output, err := child.CombinedOutput()
	require.NoError(t, err, "%s", output)
}
