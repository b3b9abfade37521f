package fanout_test

import (
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

func quick(o *fanout.Options) { o.WriteTimeout = 200 * time.Millisecond }

func TestAViewerThatTakesNothingIsCutThoughTheKernelCouldHoldMore(t *testing.T) {
	h := open(t, quick)
	topic := newTopic(0)
	stalled := h.watch(topic.Newest(), "")
	// More than the viewer's buffer takes, and less than that and ours do.
	topic.Publish(long(1), long(2), long(3), long(4))
	require.Eventually(t, func() bool {
		require.Zero(t, h.Stats().Waiting, "the kernel took it all")
		return h.Stats().Open == 0
	}, 10*time.Second, time.Millisecond)
	h.awaitEnded(fanout.Slow, 1)
	_, err := io.Copy(io.Discard, stalled)
	require.ErrorIs(t, err, syscall.ECONNRESET, "the kernel keeps nothing for it")
}

func TestAViewerThatIsGoneWithoutAWordIsNoticed(t *testing.T) {
	h := open(t, func(o *fanout.Options) { o.WriteTimeout, o.Heartbeat = time.Second, 100*time.Millisecond })
	v := h.watch(newTopic(0).Newest(), "welcome\n")
	assert.Equal(t, "welcome", v.line())
	deafen(t, v.Conn)
	h.awaitEnded(fanout.Lost, 1)
}

// deafen has the kernel drop all that comes for a connection, as if its host were gone.
func deafen(t *testing.T, connection net.Conn) {
	t.Helper()
	raw, err := connection.(*net.TCPConn).SyscallConn()
	require.NoError(t, err)
	nothing := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	var errFilter error
	require.NoError(t, raw.Control(func(fd uintptr) {
		errFilter = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: 1, Filter: &nothing[0]})
	}))
	require.NoError(t, errFilter)
}

func TestAViewerThatTakesLittleButSomethingIsNotCut(t *testing.T) {
	const timeout = time.Second
	h := open(t, func(o *fanout.Options) { o.WriteTimeout = timeout })
	// With packets as long as the loopback's there would be room for none most of the time.
	h.dialer.Control = func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_MAXSEG, 1400) })
	}
	topic := newTopic(0)
	v := h.watch(topic.Newest(), "")
	some := make([]byte, 8<<10)
	n := uint64(0)
	began := time.Now()
	last, longest := began, time.Duration(0) // when it last took something, and the longest that it took nothing
	for time.Since(began) < 4*timeout {
		for range 4 {
			n++
			topic.Publish(long(n))
		}
		_, err := io.ReadFull(v.lines, some)
		longest, last = max(longest, time.Since(last)), time.Now()
		if err != nil && longest > timeout/2 {
			t.Logf("this machine stalled for %s: no wonder that the viewer was cut", longest)
			return
		}
		require.NoError(t, err)
		time.Sleep(timeout / 10)
	}
	assert.Positive(t, h.Stats().Gaps, "it could not keep up")
	assert.Equal(t, int64(1), h.Stats().Open)
}
