package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestMain(m *testing.M) {
	if os.Getenv("SERVE_AS_CHILD") != "" {
		os.Exit(serveAsChild())
	}
	goleak.VerifyTestMain(m)
}

type settings struct {
	Port   int           `env:"PORT" default:"8080" validate:"min=1,max=65535" help:"Port."`
	Server server.Config `embed:""`
}

// start runs a server with a route that echoes, one that panics and one that is slow.
func start(t *testing.T, change func(*settings)) *servertest.Service {
	t.Helper()
	return startWith(t, change, func(srv *server.Server) {
		srv.Engine.POST("/echo", func(c *gin.Context) {
			var body struct {
				Text   string   `json:"text"`
				Number uint64   `json:"number"`
				List   []string `json:"list"`
			}
			if server.ReadJSON(c, &body) {
				c.JSON(http.StatusOK, body)
			}
		})
		srv.Engine.GET("/panic", func(*gin.Context) { panic("oops") })
		srv.Engine.GET("/slow", func(c *gin.Context) {
			select {
			case <-time.After(300 * time.Millisecond):
				c.String(http.StatusOK, "done")
			case <-c.Request.Context().Done():
			}
		})
	})
}

// startWith runs a server with routes of the test's own.
func startWith(t *testing.T, change func(*settings), route func(*server.Server)) *servertest.Service {
	t.Helper()
	cfg := servertest.Defaults(t, change)
	return servertest.Start(t, &cfg.Server, "test", func(ctx context.Context) error {
		srv, err := server.New("test", cfg.Port, cfg.Server)
		if err != nil {
			return err
		}
		route(srv)
		srv.Ready()
		return srv.Run(ctx)
	}).AwaitReady(t)
}

func TestABadRequestIsAnsweredWithWhatWasWrong(t *testing.T) {
	s := start(t, func(cfg *settings) { cfg.Server.BodyLimit = 100 })
	tests := map[string]struct {
		method, path, body string
		status             int
		says               string
	}{
		"unknown path":       {"GET", "/nowhere", "", 404, "there is no /nowhere here"},
		"unknown method":     {"DELETE", "/echo", "", 405, "/echo does not take DELETE"},
		"empty body":         {"POST", "/echo", "", 400, "the body must be a JSON object, not empty"},
		"not JSON":           {"POST", "/echo", "{text", 400, "the body is not JSON: invalid character 't' looking for beginning of object key string at byte 2"},
		"cut off":            {"POST", "/echo", `{"text":"a`, 400, "the body is not JSON: unexpected end of JSON input at byte 10"},
		"something after it": {"POST", "/echo", `{"text":"a"} b`, 400, "the body is not JSON: invalid character 'b' after top-level value at byte 14"},
		"a list":             {"POST", "/echo", `["a"]`, 400, "the body must be a JSON object, not array"},
		"number for string":  {"POST", "/echo", `{"text":1}`, 400, "text must be a string, not number"},
		"string for number":  {"POST", "/echo", `{"number":"1"}`, 400, "number must be a whole number of at least 0, not string"},
		"negative number":    {"POST", "/echo", `{"number":-1}`, 400, "number must be a whole number of at least 0, not number -1"},
		"string for list":    {"POST", "/echo", `{"list":"a"}`, 400, "list must be a list, not string"},
		"null":               {"POST", "/echo", " null ", 400, "the body must be a JSON object, not null"},
		"too large":          {"POST", "/echo", `{"text":"` + strings.Repeat("a", 100) + `"}`, 413, "the body must be at most 100 bytes"},
		"a panic":            {"GET", "/panic", "", 500, "this request could not be handled; the log says why"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			servertest.Refused(t, test.method, s.URL+test.path, test.body, test.status, test.says)
		})
	}
	assert.JSONEq(t, `{"text":"a","number":1,"list":null}`,
		servertest.Do(t, "POST", s.URL+"/echo", `{"text":"a","number":1,"unknown":true}`).Body, "unknown fields are ignored, and the server still serves")
}

func TestProbesMayAskForTheHeadOnly(t *testing.T) {
	s := start(t, func(*settings) {})
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		answer := servertest.Do(t, "HEAD", s.URL+path, "")
		assert.Equal(t, 200, answer.Status, path)
		assert.Empty(t, answer.Body)
	}
}

func TestPagesOfAllowedOriginsMayCall(t *testing.T) {
	s := start(t, func(*settings) {})
	answer := servertest.Do(t, "OPTIONS", s.URL+"/echo", "", "Origin", "https://video.example", "Access-Control-Request-Method", "POST",
		"Access-Control-Request-Headers", "content-type,last-event-id,idempotency-key")
	assert.Equal(t, 204, answer.Status)
	assert.Equal(t, "*", answer.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, answer.Header.Get("Access-Control-Allow-Headers"), "Last-Event-Id")
	assert.Contains(t, answer.Header.Get("Access-Control-Allow-Headers"), "Idempotency-Key")

	restricted := start(t, func(cfg *settings) { cfg.Server.CORSOrigins = []string{"https://video.example"} })
	assert.Equal(t, 200, servertest.Do(t, "POST", restricted.URL+"/echo", "{}", "Origin", "https://video.example").Status)
	assert.Equal(t, 403, servertest.Do(t, "POST", restricted.URL+"/echo", "{}", "Origin", "https://elsewhere.example").Status)
}

func TestAStopLetsRequestsEndAndBalancersNotice(t *testing.T) {
	s := start(t, func(cfg *settings) { cfg.Server.DrainDelay = 300 * time.Millisecond })
	s.Tell()
	require.Eventually(t, func() bool { return s.Status("/readyz") == 503 }, time.Second, time.Millisecond)
	assert.Equal(t, 200, s.Status("/livez"), "it still serves")
	assert.Equal(t, 503, s.Status("/readyz"), "and does not become ready again")
	assert.Equal(t, "done", servertest.Do(t, "GET", s.URL+"/slow", "").Body, "what is under way ends")
	require.NoError(t, s.Wait())
	assert.Equal(t, 0, s.Status("/livez"))
}

func TestWhatDoesNotEndInTimeIsCutAndCounted(t *testing.T) {
	cfg := servertest.Defaults(t, func(cfg *settings) { cfg.Server.StopTimeout = 50 * time.Millisecond })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg.Server.Listener, cfg.Server.Logger = listener, servertest.Logger(t, "test")
	srv, err := server.New("test", 1, cfg.Server)
	require.NoError(t, err)
	inside := make(chan struct{})
	srv.Engine.GET("/forever", func(c *gin.Context) { close(inside); <-c.Request.Context().Done() })
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- srv.Run(ctx) }()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
		if response, err := client.Get("http://" + listener.Addr().String() + "/forever"); err == nil {
			_ = response.Body.Close()
		}
	}()
	<-inside
	stop()
	require.EqualError(t, <-done, "1 connections had not ended within STOP_TIMEOUT=50ms and were cut")
	<-ended
}

func TestASecondPortServesItsOwnRoutesUntilTheServiceStops(t *testing.T) {
	second, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	url := "http://" + second.Addr().String()
	cfg := servertest.Defaults(t, func(cfg *settings) { cfg.Server.BodyLimit = 10 })
	inside := make(chan struct{})
	s := servertest.Start(t, &cfg.Server, "test", func(ctx context.Context) error {
		srv, err := server.New("test", cfg.Port, cfg.Server)
		if err != nil {
			return err
		}
		srv.Get("/first", func(c *gin.Context) { c.String(http.StatusOK, "first") })
		engine := srv.ListenAlso("SECOND_PORT", 1, second)
		engine.POST("/second", func(c *gin.Context) {
			if server.ReadJSON(c, &struct{}{}) {
				c.String(http.StatusOK, "second")
			}
		})
		engine.GET("/slow", func(c *gin.Context) {
			close(inside)
			time.Sleep(100 * time.Millisecond)
			c.String(http.StatusOK, "done")
		})
		srv.Ready()
		return srv.Run(ctx)
	}).AwaitReady(t)

	assert.Equal(t, "second", servertest.Do(t, "POST", url+"/second", "{}").Body)
	assert.Equal(t, "first", servertest.Do(t, "GET", s.URL+"/first", "").Body)
	servertest.Refused(t, "POST", s.URL+"/second", "{}", 404, "there is no /second here")
	servertest.Refused(t, "GET", url+"/first", "", 404, "there is no /first here")
	servertest.Refused(t, "GET", url+"/second", "", 405, "/second does not take GET")
	servertest.Refused(t, "GET", url+"/metrics", "", 404, "there is no /metrics here")
	servertest.Refused(t, "POST", url+"/second", `{"a":"long"}`, 413, "the body must be at most 10 bytes")
	for _, probe := range []string{"/livez", "/readyz"} {
		assert.Equal(t, 200, servertest.Do(t, "GET", url+probe, "").Status, probe)
	}
	assert.Empty(t, servertest.Do(t, "POST", url+"/second", "{}", "Origin", "https://video.example").Header.Get("Access-Control-Allow-Origin"))
	s.AwaitMetric(t, `livecomments_http_request_duration_seconds_count{method="POST",route="/second",status="200"} 2`)

	answer := make(chan servertest.Answer)
	go func() { answer <- servertest.Do(t, "GET", url+"/slow", "") }()
	<-inside
	s.Tell()
	assert.Equal(t, "done", (<-answer).Body, "what is under way ends")
	require.NoError(t, s.Wait())
	_, err = net.Dial("tcp", second.Addr().String())
	assert.Error(t, err, "it is closed")
}

func TestATakenPortIsNamedByItsSetting(t *testing.T) {
	taken, err := net.Listen("tcp", ":0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	port := taken.Addr().(*net.TCPAddr).Port
	first, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	cfg := servertest.Defaults(t, func(cfg *settings) { cfg.Server.Listener, cfg.Server.Logger = first, servertest.Logger(t, "test") })
	srv, err := server.New("test", cfg.Port, cfg.Server)
	require.NoError(t, err)
	srv.ListenAlso("SECOND_PORT", port, nil)
	require.ErrorContains(t, srv.Run(t.Context()), fmt.Sprintf("SECOND_PORT=%d cannot be opened: ", port))
	_, err = net.Dial("tcp", first.Addr().String())
	assert.Error(t, err, "the port that was opened before is closed")
}

func TestANameThatIsNoLabelStopsTheService(t *testing.T) {
	for _, name := range []string{"reader 1", "reader#1", strings.Repeat("r", 129)} {
		_, err := server.New("test", 1, server.Config{InstanceID: name, CORSOrigins: []string{"*"}})
		var bad *config.Error
		require.ErrorAs(t, err, &bad)
		assert.EqualError(t, err, "INSTANCE_ID must be 1 to 128 characters of A-Z a-z 0-9 . _ : -")
	}
}

func TestMetricsCountRequestsByRouteAndNotByInventedPaths(t *testing.T) {
	s := start(t, func(*settings) {})
	require.Equal(t, 200, servertest.Do(t, "POST", s.URL+"/echo", "{}").Status)
	for range 3 {
		require.Equal(t, 404, servertest.Do(t, "GET", s.URL+"/invented-path", "").Status)
	}
	s.AwaitMetric(t, `livecomments_http_request_duration_seconds_count{method="POST",route="/echo",status="200"} 1`)
	s.AwaitMetric(t, `livecomments_http_request_duration_seconds_count{method="any",route="none",status="404"} 3`)
	metrics := servertest.Do(t, "GET", s.URL+"/metrics", "").Body
	assert.NotContains(t, metrics, "invented")
	assert.Contains(t, metrics, "go_goroutines")
}

func TestABadSettingIsNamedInOneLine(t *testing.T) {
	tests := map[string]struct{ variable, value, says string }{
		"not a number":     {"PORT", "abc", `PORT="abc"`},
		"out of bounds":    {"PORT", "70000", "PORT=70000 is out of bounds: it must be at most 65535"},
		"not a duration":   {"STOP_TIMEOUT", "soon", `STOP_TIMEOUT="soon"`},
		"too short":        {"STOP_TIMEOUT", "1ms", "STOP_TIMEOUT=1ms is out of bounds: it must be at least 1s"},
		"unknown level":    {"LOG_LEVEL", "loud", "LOG_LEVEL=loud is out of bounds: it must be one of debug info warn error"},
		"no idle time":     {"IDLE_TIMEOUT", "0s", "IDLE_TIMEOUT=0s is out of bounds: it must be at least 1s"},
		"neither yes nor":  {"CORS_CREDENTIALS", "maybe", `CORS_CREDENTIALS="maybe"`},
		"no size":          {"BODY_LIMIT", "0", "BODY_LIMIT=0 is out of bounds: it must be at least 1"},
		"empty where none": {"PORT", "", `PORT="": expected a valid 64 bit int but got ""`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Setenv(test.variable, test.value)
			err := config.Load("test", nil, &settings{})
			require.ErrorContains(t, err, test.says)
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

func TestAFlagComesBeforeTheEnvironment(t *testing.T) {
	t.Setenv("PORT", "1234")
	var cfg settings
	require.NoError(t, config.Load("test", []string{"--port=4321"}, &cfg))
	assert.Equal(t, 4321, cfg.Port)
}
