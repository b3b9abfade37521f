package fleet_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/client/fleet"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// deaf is a system that takes every comment and delivers none.
func deaf(t *testing.T, status int) *httptest.Server {
	system := http.NewServeMux()
	system.HandleFunc("POST /comment", func(w http.ResponseWriter, r *http.Request) {
		var sent map[string]string
		_ = json.NewDecoder(r.Body).Decode(&sent)
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"success":true,"comment":{"userid":"u","videoid":%q,"comment":"c","timestamp":"2026-01-02T03:04:05Z","id":"%d-0"}}`, sent["videoid"], time.Now().UnixMilli())
	})
	connect := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "id: 0-0\ndata: {\"type\":\"connected\"}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}
	system.HandleFunc("/connect", connect)
	web := httptest.NewServer(system)
	t.Cleanup(web.Close)
	return web
}

func TestARunOfSetLengthFailsWhenNothingArrives(t *testing.T) {
	for _, c := range []struct {
		name, want string
		status     int
	}{
		{"because nothing is delivered", "no comment arrived: [0-9]+ were posted, 0 were not taken, 0 of 2 viewers never got a stream", http.StatusCreated},
		{"because nothing is taken", "no comment arrived: 0 were posted, [1-9][0-9]* were not taken, 0 of 2 viewers never got a stream", http.StatusServiceUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			system := deaf(t, c.status)
			listener, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			err = fleet.Run(t.Context(), servertest.Defaults(t, func(cfg *fleet.Config) {
				cfg.Server.Listener, cfg.Reports.StatisticsAPIURL = listener, ""
				cfg.CommentAPIURL, cfg.ReaderAPIURLs = system.URL, []string{system.URL}
				cfg.Viewers, cfg.Videos, cfg.CommentsPerMinute = 2, 1, 600
				cfg.Duration, cfg.SettleTimeout = time.Second, 0
			}))
			require.Error(t, err)
			require.Regexp(t, c.want, err.Error())
		})
	}
}
