package api_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// mount is the mounted Secret of a reader.
type mount struct {
	*authority.Mount
	t      *testing.T
	issuer *authority.Authority
}

func newMount(t *testing.T) *mount {
	t.Helper()
	issuer, err := authority.New()
	require.NoError(t, err)
	files, err := authority.NewMount(issuer, t.TempDir())
	require.NoError(t, err)
	return &mount{files, t, issuer}
}

func (m *mount) config() secure.Config {
	return secure.Config{CertFile: m.CertFile, KeyFile: m.KeyFile}
}

// trust is a viewer's side of TLS that knows the issuer.
func (m *mount) trust() *tls.Config { return &tls.Config{RootCAs: m.issuer.Pool()} }

// shown is the certificate that a reader shows now.
func (m *mount) shown(r *reader) *x509.Certificate {
	m.t.Helper()
	connection, err := tls.Dial("tcp", host(r), m.trust())
	require.NoError(m.t, err)
	defer func() { _ = connection.Close() }()
	return connection.ConnectionState().PeerCertificates[0]
}

func host(r *reader) string { return strings.TrimPrefix(r.URL, "https://") }

func startSecured(t *testing.T, m *mount, change func(*api.Config)) *reader {
	t.Helper()
	return start(t, brokertest.Embedded(t), func(cfg *api.Config) {
		cfg.TLS = m.config()
		change(cfg)
	})
}

func TestOverTLSAViewerGetsWhatIsPostedAndResumes(t *testing.T) {
	r := startSecured(t, newMount(t), defaults)
	first, _ := r.watch("v", "")
	want := r.posts("v", 50)
	expect(t, first, want...)
	first.Close()
	r.AwaitMetric(t, "livecomments_reader_connections 0")
	missed := r.posts("v", 50)
	second := servertest.Watch(t, "GET", r.URL+"/connect?userid=me&videoid=v", "", "Last-Event-ID", want[49].ID)
	_ = second.Expect(t)
	expect(t, second, missed...)
	r.expectNothingElse("v", second)
}

func TestOverTLSADrainedStreamGetsItsLastEventWhole(t *testing.T) {
	r := startSecured(t, newMount(t), defaults)
	var streams []*servertest.Stream
	for range 20 {
		s, _ := r.watch("v", "")
		streams = append(streams, s)
	}
	posted := r.post("v", strings.Repeat("long", 200))
	r.Tell()
	for _, s := range streams {
		expect(t, s, posted)
		assert.Equal(t, "reconnect", s.Expect(t).Type)
		s.ExpectEnd(t)
	}
	require.NoError(t, r.Wait())
}

func TestViewersOverTLSCostNoGoroutines(t *testing.T) {
	m := newMount(t)
	r := startSecured(t, m, defaults)
	const viewers = 100
	before := runtime.NumGoroutine()
	for range viewers {
		v := stare(t, m, r)
		_, err := v.ReadString('\n')
		require.NoError(t, err)
	}
	r.AwaitMetric(t, fmt.Sprint("livecomments_reader_connections ", viewers))
	require.Eventually(t, func() bool { return runtime.NumGoroutine() < before+viewers/2 }, 10*time.Second, 10*time.Millisecond,
		"%d goroutines where there were %d", runtime.NumGoroutine(), before)
}

// stare opens a stream, and reads nothing of it. It costs the test no goroutine.
func stare(t *testing.T, m *mount, r *reader) *bufio.Reader {
	t.Helper()
	connection, err := tls.Dial("tcp", host(r), m.trust())
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	require.NoError(t, connection.SetReadDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(connection, "GET /connect?userid=me&videoid=v HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	return bufio.NewReader(connection)
}

func TestACertificateIsReplacedWhileStreamsRun(t *testing.T) {
	core, logs := observer.New(zapcore.ErrorLevel)
	m := newMount(t)
	r := startSecured(t, m, func(cfg *api.Config) { cfg.Server.Logger = zap.New(core) })
	stream, _ := r.watch("v", "")
	first := m.shown(r)
	expires := time.Now().Add(100 * time.Hour).Truncate(time.Second)
	require.NoError(t, m.Issue(expires))
	require.Eventually(t, func() bool { return !m.shown(r).Equal(first) }, 10*time.Second, 50*time.Millisecond)
	second := m.shown(r)
	assert.True(t, second.NotAfter.Equal(expires))
	r.AwaitMetric(t, "livecomments_reader_certificate_expires_timestamp_seconds "+strconv.FormatFloat(float64(expires.Unix()), 'g', -1, 64))
	expect(t, stream, r.post("v", "after the first change"))

	require.NoError(t, m.Put([]byte("no certificate"), []byte("no key")))
	r.AwaitMetric(t, "livecomments_reader_certificate_stale 1")
	assert.True(t, m.shown(r).Equal(second), "what was good stays")
	assert.Equal(t, 1, logs.FilterMessage("the new certificate cannot be used; the one before stays").Len())
	expect(t, stream, r.post("v", "after the second change"))

	require.NoError(t, m.Issue(expires))
	r.AwaitMetric(t, "livecomments_reader_certificate_stale 0")
	assert.False(t, m.shown(r).Equal(second))
	assert.Equal(t, 1, logs.FilterMessage("the new certificate cannot be used; the one before stays").Len(), "it is said once")
	expect(t, stream, r.post("v", "after the third change"))
}

func TestWhoSpeaksNoHTTPOverTLSIsTurnedAway(t *testing.T) {
	m := newMount(t)
	core, logs := observer.New(zapcore.InfoLevel)
	r := startSecured(t, m, func(cfg *api.Config) { cfg.Server.Logger = zap.New(core) })

	response, err := http.Get("http://" + host(r) + "/connect?userid=me&videoid=v")
	require.NoError(t, err)
	require.NoError(t, response.Body.Close())
	assert.Equal(t, http.StatusBadRequest, response.StatusCode)

	for name, change := range map[string]func(*tls.Config){
		"HTTP/2 alone": func(c *tls.Config) { c.NextProtos = []string{"h2"} },
		"TLS 1.1":      func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 },
	} {
		trust := m.trust()
		change(trust)
		_, err := tls.Dial("tcp", host(r), trust)
		require.Error(t, err, name)
	}
	both := m.trust()
	both.NextProtos = []string{"h2", "http/1.1"}
	connection, err := tls.Dial("tcp", host(r), both)
	require.NoError(t, err)
	assert.Equal(t, "http/1.1", connection.ConnectionState().NegotiatedProtocol)
	require.NoError(t, connection.Close())

	bare, err := net.Dial("tcp", host(r)) // as readers do, to see whether one another are there
	require.NoError(t, err)
	require.NoError(t, bare.Close())
	assert.Equal(t, http.StatusOK, r.Status("/livez"))
	assert.Zero(t, logs.FilterMessageSnippet("handshake").Len())
}

func TestAStalledViewerOverTLSCostsTheOthersNothing(t *testing.T) {
	m := newMount(t)
	r := startSecured(t, m, func(cfg *api.Config) {
		cfg.WriteTimeout = time.Second
		cfg.Feed.BufferFrames = 100
	})
	var dialer net.Dialer
	below, err := dialer.Dial("tcp", host(r))
	require.NoError(t, err)
	require.NoError(t, below.(*net.TCPConn).SetReadBuffer(4096))
	trust := m.trust()
	trust.ServerName = "localhost"
	stalled := tls.Client(below, trust)
	defer func() { _ = stalled.Close() }()
	_, err = io.WriteString(stalled, "GET /connect?userid=slow&videoid=v HTTP/1.1\r\nHost: x\r\n\r\n")
	require.NoError(t, err)
	r.AwaitMetric(t, "livecomments_reader_connections 1")
	other, _ := r.watch("v", "")
	text := strings.Repeat("a long comment ", 60)
	require.Eventually(t, func() bool {
		expect(t, other, r.post("v", text))
		return strings.Contains(servertest.Do(t, "GET", r.URL+"/metrics", "").Body, "\nlivecomments_reader_streams_ended_total{reason=\"slow\"} 1\n")
	}, 60*time.Second, time.Millisecond)
	r.AwaitMetric(t, "livecomments_reader_connections 1")
	r.expectNothingElse("v", other)
}

func TestHandshakesThatAreNotFinishedTakeNoViewersPlace(t *testing.T) {
	m := newMount(t)
	r := startSecured(t, m, func(cfg *api.Config) { cfg.MaxConnections = 1 })
	for range 20 {
		connection, err := net.Dial("tcp", host(r))
		require.NoError(t, err)
		t.Cleanup(func() { _ = connection.Close() })
		_, err = io.WriteString(connection, "\x16\x03\x01") // as a handshake begins
		require.NoError(t, err)
	}
	viewer, _ := r.watch("v", "")
	expect(t, viewer, r.post("v", "hello"))
	assert.Equal(t, http.StatusServiceUnavailable, servertest.Do(t, "GET", r.URL+"/connect?userid=me&videoid=v", "").Status, "it is the only place")
	r.AwaitMetric(t, "livecomments_reader_connections 1")
}

func TestReadersThatSpeakTLSSendViewersToEachOther(t *testing.T) {
	m := newMount(t)
	server := brokertest.Real(t)
	readers := fleet(t, server, 2, "hash", func(cfg *api.Config) { cfg.TLS = m.config() })
	homes := map[string]int{}
	for _, r := range readers {
		response := servertest.Watch(t, "GET", r.URL+"/connect?userid=me&videoid=v", "")
		homes[response.Expect(t).Data]++
	}
	assert.Len(t, homes, 1, "both are sent to the same reader")
}

func TestABadCertificateStopsTheReaderAtTheStart(t *testing.T) {
	m, other := newMount(t), newMount(t)
	good := m.config()
	for want, tls := range map[string]secure.Config{
		"TLS_KEY_FILE must be set where TLS_CERT_FILE is":                                {CertFile: good.CertFile},
		"TLS_CERT_FILE must be set where TLS_KEY_FILE is":                                {KeyFile: good.KeyFile},
		"TLS_CERT_FILE=/nowhere/cert cannot be read: no such file or directory":          {CertFile: "/nowhere/cert", KeyFile: good.KeyFile},
		"TLS_KEY_FILE=/nowhere/key cannot be read: no such file or directory":            {CertFile: good.CertFile, KeyFile: "/nowhere/key"},
		"TLS_CERT_FILE=" + good.CertFile + " and TLS_KEY_FILE=" + other.config().KeyFile: {CertFile: good.CertFile, KeyFile: other.config().KeyFile},
		"TLS_CERT_FILE=" + good.KeyFile + " and TLS_KEY_FILE=" + good.KeyFile:            {CertFile: good.KeyFile, KeyFile: good.KeyFile},
	} {
		err := api.Run(context.Background(), servertest.Defaults(t, func(cfg *api.Config) { cfg.TLS = tls }))
		require.ErrorContains(t, err, want)
		assert.NotContains(t, err.Error(), "\n")
	}
	err := api.Run(context.Background(), servertest.Defaults(t, func(cfg *api.Config) {
		cfg.TLS, cfg.Router.AdvertiseURL = good, "http://reader-1"
	}))
	require.EqualError(t, err, "ADVERTISE_URL=http://reader-1 must be the http:// or https:// URL at which viewers reach this reader: with TLS_CERT_FILE it must begin with https://")
}

func TestAViewerThatChangesItsKeysGoesOn(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not in the PATH; Go's TLS changes no keys by itself")
	}
	m := newMount(t)
	r := startSecured(t, m, defaults)
	viewer := exec.Command("openssl", "s_client", "-connect", host(r), "-tls1_3")
	input, err := viewer.StdinPipe()
	require.NoError(t, err)
	output, err := viewer.StdoutPipe()
	require.NoError(t, err)
	viewer.Stderr = viewer.Stdout // it says there what it has done
	require.NoError(t, viewer.Start())
	t.Cleanup(func() { _ = viewer.Wait() })
	t.Cleanup(func() { _ = viewer.Process.Kill() })
	defer time.AfterFunc(20*time.Second, func() { _ = viewer.Process.Kill() }).Stop()
	lines := bufio.NewReader(output)
	read := func(want string) {
		t.Helper()
		for line := ""; !strings.Contains(line, want); {
			line, err = lines.ReadString('\n')
			require.NoError(t, err, want)
		}
	}
	_, err = io.WriteString(input, "GET /connect?userid=me&videoid=v HTTP/1.1\nHost: x\n\n")
	require.NoError(t, err)
	read("connected")
	for n := range 3 {
		_, err = io.WriteString(input, "K\n") // its own keys, and the reader's
		require.NoError(t, err)
		read("KEYUPDATE")
		read(r.post("v", fmt.Sprint("comment ", n)).Data)
	}
}
