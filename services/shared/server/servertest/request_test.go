package servertest_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestAStreamThatEndsIsToldFromOneThatIsCut(t *testing.T) {
	const chunked, framed = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "9\r\ndata: a\n\n\r\n"
	for name, test := range map[string]struct {
		answer  string
		chunked bool
		end     error
	}{
		"after its last chunk":            {chunked + framed + "0\r\n\r\n", true, servertest.ErrEnded},
		"without a last chunk":            {chunked + framed, true, servertest.ErrCut},
		"in a chunk":                      {chunked + framed + framed[:6], true, servertest.ErrCut},
		"in the frame of the last chunk":  {chunked + framed + "0\r\n", true, servertest.ErrCut},
		"without chunks, with connection": {"HTTP/1.0 200 OK\r\n\r\ndata: a\n\n", false, servertest.ErrEnded},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				connection, _, err := http.NewResponseController(w).Hijack()
				if assert.NoError(t, err) {
					_, _ = io.WriteString(connection, test.answer)
					_ = connection.Close()
				}
			}))
			defer server.Close()
			s := servertest.Watch(t, http.MethodGet, server.URL, "")
			assert.Equal(t, test.chunked, s.Chunked)
			s.ExpectNext(t, servertest.Event{Data: "a"})
			_, err := s.Next(10 * time.Second)
			require.ErrorIs(t, err, test.end)
		})
	}
}
