package experiment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/reports"
)

// viewers are the viewers of a system, all in one client process. They post nothing until they are told to.
type viewers struct {
	*process.Process
	*reporting
	all int
}

// reportInterval is how often the viewers report.
const reportInterval = 250 * time.Millisecond

// connect starts the viewers, who connect at rate a second, each through one of the doors.
func (s *system) connect(ctx context.Context, distribution popularity.Distribution, rate float64, doors []string) (*viewers, error) {
	taking, err := newReporting()
	if err != nil {
		return nil, err
	}
	client, err := s.serve(ctx, "client", "COMMENT_API_URL=http://"+s.comment.Address, "READER_API_URLS="+strings.Join(doors, ","),
		fmt.Sprint("VIEWERS=", s.Viewers), fmt.Sprint("VIDEOS=", s.Videos), "POPULARITY="+string(distribution), "COMMENTS_PER_MINUTE=0",
		fmt.Sprint("CONNECT_RATE=", rate), "INSTANCE_ID=client",
		"STATISTICS_API_URL="+taking.url, "REPORT_URL="+taking.url, "REPORT_INTERVAL="+reportInterval.String())
	if err != nil {
		taking.close()
		return nil, err
	}
	return &viewers{client, taking, s.Viewers}, nil
}

// post has each viewer post so many comments a minute from now on.
func (v *viewers) post(ctx context.Context, perMinute float64) error {
	body := strings.NewReader(fmt.Sprintf(`{"commentsPerMinute":%g}`, perMinute))
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://"+v.Address+"/comments-per-minute", body)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the client answers %s", response.Status)
	}
	return nil
}

// leave has the viewers wait for what is on its way and leave. It returns their last report, in which every comment is judged.
func (v *viewers) leave(ctx context.Context) (reports.Client, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	defer v.close()
	if err := v.Stop(ctx); err != nil {
		return reports.Client{}, fmt.Errorf("the client: %w", err)
	}
	return v.now(), nil
}

// drop ends the viewers at once. Those who have left stay so.
func (v *viewers) drop() {
	v.Kill()
	v.close()
}

// reporting is where viewers report, in place of a Statistics API.
type reporting struct {
	url    string
	server *http.Server
	latest atomic.Pointer[reports.Client]
}

func newReporting() (*reporting, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &reporting{url: "http://" + listener.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+(&reports.Client{}).Path(), r.take)
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(listener) }()
	return r, nil
}

func (r *reporting) take(w http.ResponseWriter, request *http.Request) {
	var report reports.Client
	if err := json.NewDecoder(request.Body).Decode(&report); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.latest.Store(&report)
}

// now is the latest report.
func (r *reporting) now() reports.Client {
	if report := r.latest.Load(); report != nil {
		return *report
	}
	return reports.Client{}
}

func (r *reporting) close() { _ = r.server.Close() }

// settle waits until all viewers have a stream, and all streams are where they belong, and have been for so long as stable. It
// returns after how long, from now, that began; settled is false where it did not within the limit. watch gets all figures that
// are read.
func (s *system) settle(ctx context.Context, v *viewers, stable, limit time.Duration, watch func(figures)) (after time.Duration, settled bool, err error) {
	began := time.Now()
	since := time.Time{} // when it was first seen as settled; 0 where it is not
	err = s.poll(ctx, limit, func(now figures) bool {
		watch(now)
		switch {
		case v.now().Connected < v.all || now.sum(streams) < float64(v.all) || now.sum(misplaced) > 0 || s.leaving():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		}
		return !since.IsZero() && time.Since(since) >= stable
	})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return limit, false, nil
	}
	return since.Sub(began), err == nil, err
}
