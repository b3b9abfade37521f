// Package servertest runs services in tests as they run in production: by their Run functions, over real sockets.
package servertest

import (
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/server"
)

// Defaults is a service's configuration as an empty environment makes it, changed by change.
func Defaults[C any](t *testing.T, change func(*C)) C {
	t.Helper()
	var cfg C
	require.NoError(t, config.Load("test", nil, &cfg))
	change(&cfg)
	return cfg
}

// Service is one that runs.
type Service struct {
	URL  string
	stop context.CancelFunc
	done chan error
}

// Start runs the service that face belongs to, at face's listener, or where it has none at a free port of 127.0.0.1. At the
// end of the test the service must stop without an error.
func Start(t *testing.T, face *server.Config, name string, run func(context.Context) error) *Service {
	t.Helper()
	if face.Listener == nil {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		face.Listener = listener
	}
	face.InstanceID = name
	if face.Logger == nil {
		face.Logger = Logger(t, name)
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Service{URL: "http://" + face.Listener.Addr().String(), stop: stop, done: make(chan error, 1)}
	go func() { s.done <- run(ctx) }()
	t.Cleanup(func() { require.NoError(t, s.Stop()) })
	return s
}

// Logger writes warnings and worse to the test's log, while the test runs.
func Logger(t *testing.T, name string) *zap.Logger {
	encoder := zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, zapcore.AddSync(testWriter{t}), zapcore.WarnLevel)).Named(name)
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(line []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(line)))
	return len(line), nil
}

// Stop tells the service to stop and returns what its Run returned.
func (s *Service) Stop() error {
	s.stop()
	return s.Wait()
}

// Tell tells the service to stop without waiting until it has.
func (s *Service) Tell() { s.stop() }

// Wait returns what Run returned, once it has.
func (s *Service) Wait() error {
	err := <-s.done
	s.done <- err
	return err
}

// AwaitReady returns when the service says that it is ready.
func (s *Service) AwaitReady(t *testing.T) *Service {
	t.Helper()
	require.Eventually(t, func() bool { return s.Status("/readyz") == http.StatusOK }, 10*time.Second, 5*time.Millisecond, "not ready")
	return s
}

// AwaitMetric returns when /metrics has the line: counters may move a moment after what they count was seen.
func (s *Service) AwaitMetric(t *testing.T, line string) {
	t.Helper()
	require.Eventually(t, func() bool {
		return strings.Contains(Do(t, http.MethodGet, s.URL+"/metrics", "").Body, "\n"+line+"\n")
	}, 10*time.Second, 5*time.Millisecond, line)
}

// Status is the status that a GET of path is answered with, 0 where it is not answered.
func (s *Service) Status(path string) int {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: anyCertificate}, Timeout: 5 * time.Second}
	response, err := client.Get(s.URL + path)
	if err != nil {
		return 0
	}
	_ = response.Body.Close()
	return response.StatusCode
}
