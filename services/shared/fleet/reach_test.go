package fleet

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"go.uber.org/zap"
)

func TestViewersWhoCameBeforeTheyWereSaidToBeSentAreNotMissed(t *testing.T) {
	for name, test := range map[string]struct {
		// sent and arrived are what is known after so many announcements.
		sent, arrived func(second int) uint64
		unreachable   bool
	}{
		"all have come, and the last are said to be sent a second later": {
			func(second int) uint64 { return 100 * uint64(min(max(0, second-1), 10)) },
			func(second int) uint64 { return 100 * uint64(min(second, 10)) }, false,
		},
		"nobody has come": {
			func(second int) uint64 { return 100 * uint64(min(second, 10)) },
			func(int) uint64 { return 0 }, true,
		},
		"few are sent, and nobody comes": {
			func(second int) uint64 { return uint64(second) / 2 },
			func(int) uint64 { return 0 }, true,
		},
		"few are sent, and now and then one comes": {
			func(second int) uint64 { return uint64(second) },
			func(second int) uint64 { return uint64(second) / 9 }, false,
		},
		"nobody comes any more": {
			func(second int) uint64 { return 100 * uint64(second) },
			func(second int) uint64 { return 100 * uint64(min(second, 10)) }, true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, r, now := &Fleet{log: zap.NewNop()}, &reach{}, time.Now()
			for second := range 40 {
				at := now.Add(time.Duration(second) * time.Second)
				r.note(f, &View{Members: []Member{{Arrived: test.arrived(second)}}, SentHere: test.sent(second)}, at)
			}
			assert.Equal(t, test.unreachable, r.unreachable(now.Add(40*time.Second)))
		})
	}
}
