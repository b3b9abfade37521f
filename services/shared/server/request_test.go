package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

const requestCount = "livecomments_http_request_duration_seconds_count"

// dial sends the beginning of a request, as it is written here.
func dial(t *testing.T, s *servertest.Service, text string) *net.TCPConn {
	t.Helper()
	_, address, _ := strings.Cut(s.URL, "://")
	connection, err := net.Dial("tcp", address)
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	_, err = io.WriteString(connection, text)
	require.NoError(t, err)
	return connection.(*net.TCPConn)
}

func TestAClientThatLeavesBeforeItsAnswerIsCountedAs499(t *testing.T) {
	leave := func(t *testing.T, connection *net.TCPConn) { require.NoError(t, connection.Close()) }
	reset := func(t *testing.T, connection *net.TCPConn) {
		require.NoError(t, connection.SetLinger(0))
		require.NoError(t, connection.Close())
	}
	finish := func(t *testing.T, connection *net.TCPConn) { require.NoError(t, connection.CloseWrite()) }
	const body = "POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"text\":"
	const chunk = "POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{\"te"
	for name, test := range map[string]struct {
		request, method, route string
		leave                  func(*testing.T, *net.TCPConn)
	}{
		"within its body":                    {body, "POST", "/read", leave},
		"within a chunk of its body":         {chunk, "POST", "/read", leave},
		"within its body, by a reset":        {body, "POST", "/read", reset},
		"within its body, but still listens": {body, "POST", "/read", finish},
		"while the answer is made":           {"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/wait", leave},
		"while a handler looks for it":       {"GET /look HTTP/1.1\r\nHost: x\r\n\r\n", "GET", "/look", reset},
	} {
		t.Run(name, func(t *testing.T) {
			entered := make(chan struct{}, 1)
			s := startWith(t, func(*settings) {}, func(srv *server.Server) {
				srv.Engine.POST("/read", func(c *gin.Context) {
					entered <- struct{}{}
					server.ReadJSON(c, &struct{}{})
				})
				srv.Engine.GET("/wait", func(c *gin.Context) {
					entered <- struct{}{}
					<-c.Request.Context().Done()
				})
				srv.Engine.GET("/look", func(c *gin.Context) {
					entered <- struct{}{}
					<-c.Request.Context().Done()
					server.Gone(c)
				})
			})
			connection := dial(t, s, test.request)
			<-entered
			test.leave(t, connection)
			count := requestCount + `{method="` + test.method + `",route="` + test.route + `",status="`
			s.AwaitMetric(t, count+`499"} 1`)
			metrics := servertest.Do(t, "GET", s.URL+"/metrics", "").Body
			assert.Equal(t, 1, strings.Count(metrics, count), "and as nothing else")
		})
	}
}

func TestABodyThatIsNotSentInTimeIsAnswered408(t *testing.T) {
	defer server.SetBodyTimeout(50 * time.Millisecond)()
	s := start(t, func(*settings) {})
	connection := dial(t, s, "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{\"text\":")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	answer, err := io.ReadAll(response.Body)
	require.NoError(t, err, "the connection ends with the answer")
	assert.Equal(t, 408, response.StatusCode)
	assert.JSONEq(t, `{"error":"the body must be sent within 50ms"}`, string(answer))
	assert.True(t, response.Close)
	require.NoError(t, s.Stop(), "before the timeout is changed back")
}

func TestABodyThatIsNoBodyIsTheClientsFault(t *testing.T) {
	s := start(t, func(*settings) {})
	connection := dial(t, s, "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
	response, err := http.ReadResponse(bufio.NewReader(connection), nil)
	require.NoError(t, err)
	defer func() { _ = response.Body.Close() }()
	assert.Equal(t, 400, response.StatusCode)
	servertest.Refused(t, "POST", s.URL+"/echo", "{\"text\":\"caf\xe9\"}", 400, "the body must be UTF-8")
}
