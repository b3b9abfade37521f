package bench_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/bench"
)

func TestABadFlagIsNamedInOneLine(t *testing.T) {
	for want, command := range map[string]bench.Command{
		"--seconds must be from 1 to 600, not 0": {},
		`--only must be of hot, tls, flood, idle, channels, check, resubscribe, stalled, storm, fleet, not "cold"`: {Seconds: 1, Only: []string{"cold"}},
		`--reader: exec: "no-such-reader": executable file not found in $PATH`:                                     {Seconds: 1, Reader: "no-such-reader"},
	} {
		require.EqualError(t, command.Run(t.Context()), want)
	}
}
