package fanout_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// hall is an engine that runs, and the viewers who connect to it.
type hall struct {
	*fanout.Engine
	t      testing.TB
	wrap   func(net.Conn) net.Conn
	secure func(net.Conn) *tls.Conn // the reader's end of TLS; nil where there is none
	trust  *tls.Config              // that of the viewers
	plain  bool                     // its viewers' bodies are not chunked
	before func(near, far net.Conn) // the stream begins
	dialer net.Dialer
	stop   func()

	mu    sync.Mutex
	ended map[fanout.Reason]int
}

func open(t testing.TB, change func(*fanout.Options)) *hall {
	t.Helper()
	return run(t, fanout.New, change)
}

func run(t testing.TB, newEngine func(fanout.Options) (*fanout.Engine, error), change func(*fanout.Options)) *hall {
	t.Helper()
	options := fanout.Options{
		Heartbeat: time.Minute, WriteTimeout: time.Minute, DrainPeriod: time.Millisecond, Retry: func() time.Duration { return time.Second },
	}
	change(&options)
	engine, err := newEngine(options)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { engine.Run(ctx) })
	h := &hall{Engine: engine, t: t, wrap: func(c net.Conn) net.Conn { return c }, ended: map[fanout.Reason]int{}}
	h.stop = func() { cancel(); running.Wait() }
	t.Cleanup(h.stop)
	return h
}

// each runs test with sockets that the kernel polls, with connections of which only Go knows how to wait, with bodies that are
// not chunked, and with TLS over both kinds of connection.
func each(t *testing.T, change func(*fanout.Options), test func(h *hall)) {
	t.Helper()
	t.Run("socket", func(t *testing.T) {
		h := open(t, change)
		h.t = t
		test(h)
	})
	t.Run("connection", func(t *testing.T) {
		h := open(t, change)
		h.wrap = func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }
		test(h)
	})
	t.Run("TLS", func(t *testing.T) {
		h := open(t, change)
		h.speakTLS(tls.VersionTLS13)
		test(h)
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		h := open(t, change)
		h.speakTLS(tls.VersionTLS12)
		test(h)
	})
	t.Run("TLS over a connection", func(t *testing.T) {
		h := open(t, change)
		h.speakTLS(tls.VersionTLS13)
		h.wrap = func(c net.Conn) net.Conn { return struct{ net.Conn }{c} }
		test(h)
	})
	t.Run("HTTP/1.0", func(t *testing.T) {
		h := open(t, change)
		h.plain = true
		test(h)
	})
}

func defaults(*fanout.Options) {}

// speakTLS has all who watch speak a version of TLS.
func (h *hall) speakTLS(version uint16) {
	h.t.Helper()
	issuer, err := authority.New()
	require.NoError(h.t, err)
	pair, err := tls.X509KeyPair(issued(h.t, issuer))
	require.NoError(h.t, err)
	far := &tls.Config{Certificates: []tls.Certificate{pair}, DynamicRecordSizingDisabled: true, MaxVersion: version}
	h.secure = func(c net.Conn) *tls.Conn { return tls.Server(&secure.Conn{Conn: c}, far) }
	h.trust = &tls.Config{RootCAs: issuer.Pool(), ServerName: "localhost"}
}

func issued(t testing.TB, issuer *authority.Authority) (certificate, key []byte) {
	t.Helper()
	certificate, key, err := issuer.Issue(time.Now().Add(time.Hour))
	require.NoError(t, err)
	return certificate, key
}

// shakeHands makes the handshake of both ends.
func (h *hall) shakeHands(near, far net.Conn) (viewer, reader *tls.Conn) {
	h.t.Helper()
	viewer, reader = tls.Client(near, h.trust), h.secure(far)
	done := make(chan error, 1)
	go func() { done <- reader.Handshake() }()
	require.NoError(h.t, viewer.Handshake())
	require.NoError(h.t, <-done)
	return viewer, reader
}

// viewer is the other end of a stream.
type viewer struct {
	net.Conn
	t     testing.TB
	lines *bufio.Reader
}

func (h *hall) watch(cursor fanout.Cursor, opening string) *viewer {
	h.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.t, err)
	defer func() { _ = listener.Close() }()
	near, err := h.dialer.Dial("tcp", listener.Addr().String())
	require.NoError(h.t, err)
	far, err := listener.Accept()
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = near.Close() })
	// Little fits, so that a viewer who does not read is soon behind.
	require.NoError(h.t, far.(*net.TCPConn).SetWriteBuffer(16<<10))
	require.NoError(h.t, near.(*net.TCPConn).SetReadBuffer(16<<10))
	begin := fanout.Opening{Chunked: !h.plain}
	if opening != "" {
		begin.Events = append(begin.Events, []byte(opening))
	}
	far = h.wrap(far)
	if h.secure != nil {
		near, far = h.shakeHands(near, far)
	}
	if h.before != nil {
		h.before(near, far)
	}
	h.Serve(far, cursor, begin, func(reason fanout.Reason) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ended[reason]++
	})
	var body io.Reader = near
	if !h.plain {
		body = httputil.NewChunkedReader(near)
	}
	return &viewer{Conn: near, t: h.t, lines: bufio.NewReader(body)}
}

// line is the next line that comes.
func (v *viewer) line() string {
	v.t.Helper()
	require.NoError(v.t, v.SetReadDeadline(time.Now().Add(10*time.Second)))
	line, err := v.lines.ReadString('\n')
	require.NoError(v.t, err)
	return strings.TrimSuffix(line, "\n")
}

func (v *viewer) expect(from, to uint64) {
	v.t.Helper()
	for n := from; n <= to; n++ {
		require.Equal(v.t, fmt.Sprint(n), v.line())
	}
}

func (v *viewer) rest() string {
	v.t.Helper()
	require.NoError(v.t, v.SetReadDeadline(time.Now().Add(10*time.Second)))
	rest, err := io.ReadAll(v.lines)
	require.NoError(v.t, err)
	return string(rest)
}

func (h *hall) awaitEnded(reason fanout.Reason, n int) {
	h.t.Helper()
	require.Eventually(h.t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.ended[reason] == n
	}, 10*time.Second, time.Millisecond, "%d streams ended: %s", n, reason)
	assert.Equal(h.t, n, func() int { h.mu.Lock(); defer h.mu.Unlock(); return total(h.ended) }())
}

func total(ended map[fanout.Reason]int) (sum int) {
	for _, n := range ended {
		sum += n
	}
	return sum
}

// given is what a viewer gets from a cursor, at once.
func given(t *testing.T, cursor fanout.Cursor) string {
	t.Helper()
	h := open(t, defaults)
	v := h.watch(cursor, "opening\n")
	require.Equal(t, "opening", v.line())
	h.Drain()
	lines, _, found := strings.Cut(v.rest(), "event: reconnect")
	require.True(t, found)
	return strings.Join(strings.Fields(lines), " ")
}

func TestEveryViewerGetsEveryFrameOnceAndInOrder(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := newTopic(0)
		first := h.watch(topic.Newest(), "welcome\n")
		topic.Publish(frames(1, 2)...)
		second := h.watch(topic.Newest(), "welcome\n")
		topic.Publish(frames(2, 3)...) // 2 comes again, as it may after an interruption
		assert.Equal(h.t, "welcome", first.line())
		first.expect(1, 3)
		assert.Equal(h.t, "welcome", second.line())
		second.expect(3, 3)
		topic.Publish(frames(4, 4)...) // and nothing else comes before it
		first.expect(4, 4)
		second.expect(4, 4)
		h.awaitComments(6)
	})
}

// long is a frame of 10 KB that begins with its number.
func long(n uint64) fanout.Frame {
	return fanout.NewFrame(id(n), fmt.Appendf(nil, "%d %s\n", n, bytes.Repeat([]byte("x"), 10_000)))
}

func longs(from, to uint64) (frames []fanout.Frame) {
	for n := from; n <= to; n++ {
		frames = append(frames, long(n))
	}
	return frames
}

// awaitComments returns when the engine has counted n comments, which it does a moment after viewers have got them.
func (h *hall) awaitComments(n uint64) {
	h.t.Helper()
	require.Eventually(h.t, func() bool { return h.Stats().Comments >= n }, 10*time.Second, time.Millisecond)
	assert.Equal(h.t, n, h.Stats().Comments)
}

// stall publishes until the viewer, who does not read, is behind or cut, and returns the number of the last frame. What comes
// before has been taken, as far as the topic could let go of it.
func (h *hall) stall(topic *fanout.Topic) (n uint64) {
	h.t.Helper()
	behind := func() bool { return h.Stats().Waiting > 0 || h.Stats().Open == 0 }
	for !behind() {
		n++
		require.Less(h.t, n, uint64(1000), "a viewer that reads nothing is behind by now")
		topic.Publish(long(n))
		require.Eventually(h.t, func() bool { return behind() || h.Stats().Comments == n }, 10*time.Second, 100*time.Microsecond)
	}
	return n
}

// deepTopic is a topic that keeps all that flood publishes.
func deepTopic() *fanout.Topic {
	return fanout.NewTopic("v", fanout.Limits{Frames: 1000, Age: time.Minute}, id(0), nil, false)
}

// flood publishes 1 MB, at once: a viewer who does not read stays behind, whatever room its kernel finds.
func flood(topic *fanout.Topic) { topic.Publish(longs(1, 100)...) }

func TestAViewerBehindByMoreThanTheRingIsMovedToTheNewestWithAGap(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := newTopic(0)
		slow := h.watch(topic.Newest(), "")
		last := h.stall(topic)
		// At once, so that it is behind by more than the ring even if its kernel has found room again.
		topic.Publish(longs(last+1, last+20)...)
		last += 20
		n := uint64(1)
		for ; ; n++ {
			line := slow.line()
			if line == "event: gap" {
				break
			}
			require.True(h.t, strings.HasPrefix(line, fmt.Sprint(n, " x")), line[:10])
			require.Len(h.t, line, len(fmt.Sprint(n))+10_001, "no frame is cut")
		}
		assert.Less(h.t, n, last)
		assert.Equal(h.t, fmt.Sprintf("id: %d-0", last), slow.line())
		assert.Equal(h.t, `data: {"type":"gap","videoid":"v"}`, slow.line())
		assert.Empty(h.t, slow.line())
		topic.Publish(frames(last+1, last+2)...)
		slow.expect(last+1, last+2)
		assert.Equal(h.t, uint64(1), h.Stats().Gaps)
		assert.Zero(h.t, h.Stats().Waiting)
	})
}

func TestAViewerThatTakesNothingIsCutAndCostsTheOthersNothing(t *testing.T) {
	each(t, func(o *fanout.Options) { o.WriteTimeout = 100 * time.Millisecond }, func(h *hall) {
		topic := deepTopic()
		stalled := h.watch(topic.Newest(), "")
		flood(topic)
		other := h.watch(topic.Newest(), "")
		topic.Publish(frames(2000, 2001)...)
		other.expect(2000, 2001)
		h.awaitEnded(fanout.Slow, 1)
		require.Eventually(h.t, func() bool { return h.Stats().Open == 1 }, 10*time.Second, time.Millisecond)
		assert.Zero(h.t, h.Stats().Waiting)
		if _, polled := h.wrap(stalled.Conn).(*net.TCPConn); polled {
			require.NoError(h.t, stalled.SetReadDeadline(time.Now().Add(10*time.Second)))
			_, err := io.Copy(io.Discard, stalled)
			require.ErrorIs(h.t, err, syscall.ECONNRESET, "the kernel keeps nothing for it")
		}
	})
}

func TestAViewerThatLeftIsNoticedWithoutAWrite(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := newTopic(0)
		v := h.watch(topic.Newest(), "welcome\n")
		assert.Equal(h.t, "welcome", v.line())
		require.NoError(h.t, v.Close())
		h.awaitEnded(fanout.Left, 1)
		assert.Equal(h.t, uint64(1), h.Stats().Writes)
	})
}

func TestAViewerThatLeftIsNoticedWhileItIsBehind(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := deepTopic()
		v := h.watch(topic.Newest(), "")
		flood(topic)
		require.Eventually(h.t, func() bool { return h.Stats().Waiting == 1 }, 10*time.Second, time.Millisecond)
		require.NoError(h.t, v.Close())
		h.awaitEnded(fanout.Left, 1)
	})
}

func TestAQuietStreamGetsHeartbeats(t *testing.T) {
	each(t, func(o *fanout.Options) { o.Heartbeat = 20 * time.Millisecond }, func(h *hall) {
		topic := newTopic(0)
		v := h.watch(topic.Newest(), "")
		for range 3 {
			require.Equal(h.t, ": heartbeat", v.line())
			require.Empty(h.t, v.line())
		}
	})
}

func TestStreamsEndSpreadOverTheDrainPeriod(t *testing.T) {
	const period, viewers = 10 * time.Second, 1000
	synctest.Test(t, func(t *testing.T) {
		h := run(t, fanout.NewUnpolled, func(o *fanout.Options) { o.DrainPeriod = period })
		for range viewers {
			h.ServeNowhere(newTopic(0).Newest())
		}
		h.Drain()
		for tenths := range int64(10) {
			synctest.Wait()
			assert.InDelta(t, viewers*(10-tenths)/10, h.Stats().Open, viewers/10, "streams open after %d tenths of the period", tenths)
			time.Sleep(period / 10)
		}
		synctest.Wait()
		assert.Zero(t, h.Stats().Open)
	})
}

func TestADrainedStreamIsToldToReconnect(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := newTopic(0)
		var viewers []*viewer
		for range 40 {
			viewers = append(viewers, h.watch(topic.Newest(), ""))
		}
		h.Drain()
		late := h.watch(topic.Newest(), "") // its request was under way
		assert.Zero(h.t, h.Await(context.Background()))
		for _, v := range append(viewers, late) {
			assert.Equal(h.t, "event: reconnect\nretry: 1000\ndata: {\"type\":\"reconnect\",\"reason\":\"drain\",\"retryMillis\":1000}\n\n", v.rest())
		}
		h.awaitEnded(fanout.Drain, 41)
	})
}

func TestAStreamEndsAfterItsLifetime(t *testing.T) {
	each(t, func(o *fanout.Options) { o.Lifetime = 50 * time.Millisecond }, func(h *hall) {
		topic := newTopic(0)
		cursor := topic.Newest()
		topic.Publish(frames(1, 1)...)
		v := h.watch(cursor, "")
		v.expect(1, 1)
		assert.Contains(h.t, v.rest(), `"reason":"lifetime"`)
		h.awaitEnded(fanout.Lifetime, 1)
	})
}

func TestWhatIsLeftIsClosedWhenTheEngineStops(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := newTopic(0)
		watching := h.watch(topic.Newest(), "hello\n")
		behind := h.watch(topic.Newest(), "hello\n")
		assert.Equal(h.t, "hello", watching.line())
		assert.Equal(h.t, "hello", behind.line())
		limited, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		assert.Equal(h.t, 2, h.Await(limited))
		h.stop()
		late := h.watch(topic.Newest(), "")
		for _, v := range []*viewer{watching, behind, late} {
			_, err := v.lines.ReadByte()
			if h.plain {
				require.ErrorIs(h.t, err, io.EOF)
			} else {
				require.ErrorIs(h.t, err, io.ErrUnexpectedEOF, "it is seen to be cut")
			}
		}
		assert.Zero(h.t, h.Stats().Open)
	})
}

func TestAfterARewindSmallerIDsAreNew(t *testing.T) {
	each(t, defaults, func(h *hall) {
		topic := newTopic(0, frames(10, 12)...)
		v := h.watch(topic.Newest(), "")
		resuming, ok := topic.After(id(10))
		require.True(h.t, ok)
		topic.Rewind(id(5))
		topic.Publish(frames(6, 6)...)
		late := h.watch(resuming, "") // it was given its place before the rewind
		for _, v := range []*viewer{v, late} {
			assert.Equal(h.t, "event: gap", v.line())
			assert.Equal(h.t, "id: 5-0", v.line())
			v.line()
			v.line()
			v.expect(6, 6)
		}
	})
}

func TestComingFasterThanTheyAreTakenFramesGoManyInOneWrite(t *testing.T) {
	h := open(t, defaults)
	topic := fanout.NewTopic("v", fanout.Limits{Frames: 10_000, Age: time.Minute}, id(0), nil, false)
	cursor := topic.Newest()
	topic.Publish(frames(1, 5_000)...)
	v := h.watch(cursor, "")
	v.expect(1, 5_000)
	assert.Less(t, h.Stats().Writes, uint64(50))
	assert.Equal(t, uint64(5_000), h.Stats().Comments)
}

func TestManyViewersComeAndGoWhileFramesAreInFlight(t *testing.T) {
	each(t, func(o *fanout.Options) { o.Heartbeat = 2 * time.Millisecond }, func(h *hall) {
		const last = 1000
		topics := make([]*fanout.Topic, 3)
		for i := range topics {
			topics[i] = fanout.NewTopic("v", fanout.Limits{Frames: last + 1, Age: time.Minute}, id(0), nil, false)
		}
		var tasks sync.WaitGroup
		for i := range 90 {
			topic := topics[i%len(topics)]
			tasks.Go(func() {
				cursor := topic.Newest()
				v := h.watch(cursor, "")
				if i%5 == 0 {
					_ = v.Close()
					return
				}
				for n := cursor.At.Millis + 1; n <= last; {
					if line := v.line(); line != "" && line[0] != ':' {
						assert.Equal(h.t, fmt.Sprint(n), line)
						n++
					}
				}
			})
		}
		for _, topic := range topics {
			tasks.Go(func() {
				for n := uint64(1); n <= last; n++ {
					topic.Publish(frames(n, n)...)
					topic.Trim()
				}
			})
		}
		tasks.Wait()
		h.awaitEnded(fanout.Left, 18)
	})
}
