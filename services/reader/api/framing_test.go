package api_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
)

// ask sends a request on a connection of its own and returns it.
func ask(t *testing.T, r *reader, lines ...string) net.Conn {
	t.Helper()
	connection, err := net.Dial("tcp", strings.TrimPrefix(r.URL, "http://"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = connection.Close() })
	require.NoError(t, connection.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(connection, strings.Join(lines, "\r\n")+"\r\n\r\n")
	require.NoError(t, err)
	return connection
}

// chunk reads one, as clients do that hand over a chunk at a time.
func chunk(t *testing.T, body *bufio.Reader) string {
	t.Helper()
	length, err := body.ReadString('\n')
	require.NoError(t, err)
	n, err := strconv.ParseInt(strings.TrimSuffix(length, "\r\n"), 16, 32)
	require.NoError(t, err)
	data := make([]byte, n+2)
	_, err = io.ReadFull(body, data)
	require.NoError(t, err)
	require.Equal(t, "\r\n", string(data[n:]))
	return string(data[:n])
}

func TestEachEventIsAChunkForHTTP11(t *testing.T) {
	for name, path := range map[string]string{"live": "/connect?userid=me&videoid=v", "replayed": "/connect?userid=me&videoid=v&history=5"} {
		t.Run(name, func(t *testing.T) {
			r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.StreamLifetime = time.Second })
			before := r.posts("v", 2)
			connection := ask(t, r, "GET "+path+" HTTP/1.1", "Host: x")
			body := bufio.NewReader(connection)
			answer, err := http.ReadResponse(body, nil)
			require.NoError(t, err)
			assert.Equal(t, []string{"chunked"}, answer.TransferEncoding)
			assert.Contains(t, chunk(t, body), `"type":"connected"`)
			want := before
			if name == "live" {
				want = r.posts("v", 2)
			}
			for _, event := range want {
				assert.Equal(t, fmt.Sprintf("id: %s\ndata: %s\n\n", event.ID, event.Data), chunk(t, body), "at once, and no more than it")
			}
			assert.Contains(t, chunk(t, body), "event: reconnect")
			rest, err := io.ReadAll(body)
			require.NoError(t, err)
			assert.Equal(t, "0\r\n\r\n", string(rest), "the end is seen to be one")
		})
	}
}

func TestAStreamForHTTP10EndsWithItsConnection(t *testing.T) {
	r := start(t, brokertest.Embedded(t), func(cfg *api.Config) { cfg.StreamLifetime = time.Second })
	for name, connection := range map[string]net.Conn{
		"GET":        ask(t, r, "GET /connect?userid=me&videoid=v HTTP/1.0"),
		"POST":       ask(t, r, "POST /connect HTTP/1.0", "Content-Length: 30", "", `{"userid":"me","videoid":"v"} `),
		"keep-alive": ask(t, r, "GET /connect?userid=me&videoid=v HTTP/1.0", "Connection: keep-alive"),
	} {
		body := bufio.NewReader(connection)
		answer, err := http.ReadResponse(body, nil)
		require.NoError(t, err, name)
		assert.Empty(t, answer.TransferEncoding, name)
		assert.True(t, answer.Close, name)
		text, err := io.ReadAll(answer.Body)
		require.NoError(t, err, name)
		assert.Regexp(t, `(?s)^id: 0-0\nretry: \d+\ndata: {"type":"connected".*event: reconnect\n.*\n\n$`, string(text), name)
	}
}

func TestAnEventIsOneLineForClientsThatSplitAtOtherCharacters(t *testing.T) {
	r := start(t, brokertest.Embedded(t), defaults)
	s, _ := r.watch("v", "")
	event := r.post("v", "a\u0085b\u2028c\u2029d\u009fe\vf\x7f")
	got := s.Expect(t)
	assert.JSONEq(t, event.Data, got.Data)
	assert.False(t, strings.ContainsAny(got.Data, "\u0085\u2028\u2029\u009f\v\x7f"), got.Data)
}
