package fanout_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/fanout"
)

// openSecured is an engine whose viewers speak TLS over sockets that the kernel polls.
func openSecured(t *testing.T, change func(*fanout.Options)) *hall {
	t.Helper()
	h := open(t, change)
	h.speakTLS(tls.VersionTLS13)
	return h
}

func TestOverTLSLongCommentsArriveExactlyThroughBuffersThatHoldLittle(t *testing.T) {
	h := openSecured(t, defaults)
	h.wrap = func(far net.Conn) net.Conn {
		require.NoError(t, far.(*net.TCPConn).SetWriteBuffer(1))
		return far
	}
	topic := fanout.NewTopic("v", fanout.Limits{Frames: 1000, Age: time.Minute}, id(0), nil, false)
	v := h.watch(topic.Newest(), "")
	random := rand.New(rand.NewPCG(1, 2))
	var want bytes.Buffer
	for n := range uint64(60) {
		text := make([]byte, random.IntN(50_000))
		for i := range text {
			text[i] = byte('a' + random.IntN(26))
		}
		frame := fmt.Appendf(text, "%d\n", n)
		want.Write(frame)
		topic.Publish(fanout.NewFrame(id(n+1), frame))
	}
	got := make([]byte, want.Len())
	require.NoError(t, v.SetReadDeadline(time.Now().Add(60*time.Second)))
	_, err := io.ReadFull(v.lines, got)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(want.Bytes(), got), "what arrives is what was sent")
	h.Drain()
	assert.Contains(t, v.rest(), `"reason":"drain"`)
}

func TestAViewerThatTakesLeaveByTLSAloneHasLeft(t *testing.T) {
	h := openSecured(t, defaults)
	topic := newTopic(0)
	v := h.watch(topic.Newest(), "welcome\n")
	assert.Equal(t, "welcome", v.line())
	require.NoError(t, v.Conn.(*tls.Conn).CloseWrite()) // the connection below stays open
	h.awaitEnded(fanout.Left, 1)
}

func TestAViewerThatTakesLeaveWithItsRequestHasLeft(t *testing.T) {
	h := openSecured(t, defaults)
	farewell := func(near, far net.Conn) {
		v := near.(*tls.Conn)
		_, err := v.Write([]byte("request"))
		require.NoError(t, err)
		require.NoError(t, v.CloseWrite())
		// What net/http reads for the request is all that has come.
		_, err = io.ReadFull(far, make([]byte, 1))
		require.NoError(t, err)
	}
	h.before = farewell
	h.watch(newTopic(0).Newest(), "")
	h.awaitEnded(fanout.Left, 1)
}

func TestAViewerOverTLSThatSendsWithoutEndGetsItsCommentsAndHoldsUpNobody(t *testing.T) {
	h := openSecured(t, defaults)
	topic := newTopic(0)
	loud, quiet := h.watch(topic.Newest(), ""), h.watch(topic.Newest(), "")
	require.NoError(t, loud.SetWriteDeadline(time.Now().Add(500*time.Millisecond)))
	var err error
	for noise := make([]byte, 64<<10); err == nil; {
		_, err = loud.Write(noise)
	}
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "nobody listens")
	topic.Publish(frames(1, 3)...)
	loud.expect(1, 3)
	quiet.expect(1, 3)
}
