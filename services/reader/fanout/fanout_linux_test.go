package fanout_test

import (
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

func TestAViewerThatTakesNothingIsCutThoughTheKernelCouldHoldMore(t *testing.T) {
	h := open(t, func(o *fanout.Options) { o.WriteTimeout = 100 * time.Millisecond })
	topic := newTopic(0)
	stalled := h.watch(topic.Newest(), "")
	// More than the viewer's buffer takes, and less than that and ours do.
	topic.Publish(long(1), long(2), long(3), long(4))
	require.Never(t, func() bool { return h.Stats().Waiting > 0 }, 50*time.Millisecond, 5*time.Millisecond)
	h.awaitEnded(fanout.Slow, 1)
	_, err := io.Copy(io.Discard, stalled)
	require.ErrorIs(t, err, syscall.ECONNRESET)
}
