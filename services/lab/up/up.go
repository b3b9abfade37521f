// Package up composes the whole system in one process: every service by the Run that it has in a pod, each on a port of
// its own, around one Redis.
package up

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/livecomments/livecomments/services/client/fleet"
	commentapi "github.com/livecomments/livecomments/services/comment/api"
	readerapi "github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/telemetry"
	statisticsapi "github.com/livecomments/livecomments/services/statistics/api"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

// Command is `lab up`. Settings of the services that it does not name can be given as environment variables.
type Command struct {
	Readers           int           `default:"3" help:"Readers to run."`
	Viewers           int           `default:"3" help:"Simulated viewers; 0 for none, to bring your own."`
	Videos            int           `default:"2" help:"Videos that they watch; at most as many as viewers."`
	Popularity        string        `default:"uniform" enum:"uniform,three-tier,zipf,celebrity" help:"How the viewers spread over the videos: uniform, three-tier, zipf or celebrity."`
	Routing           string        `default:"random" enum:"random,hash,bounded" help:"Where viewers belong: random is wherever they connect; hash and bounded send those of a video to its reader."`
	CommentsPerMinute float64       `default:"15" help:"Comments that each viewer posts a minute, on average."`
	Duration          time.Duration `help:"Stop after this long; by default at Ctrl-C."`
	Every             time.Duration `default:"2s" help:"Time between the lines that show the flow."`
	Host              string        `default:"127.0.0.1" help:"Address to listen on; empty for all of this machine's."`
	CommentPort       int           `default:"3000" help:"Port of the Comment API; 0 for any free one."`
	ReaderPort        int           `default:"4001" help:"Port of the first reader, the others follow; 0 for any free ones."`
	StatisticsPort    int           `default:"5000" help:"Port of the Statistics API; 0 for any free one."`
	RedisURL          string        `name:"redis-url" env:"REDIS_URL" help:"Redis to use; by default one is embedded."`
	LogLevel          string        `default:"warn" enum:"debug,info,warn,error" help:"Least severe level of the services' logs that is shown: debug, info, warn or error."`

	// Out is where the lines go; standard output where it is nil. Started is called with the addresses once all is up.
	Out     io.Writer       `kong:"-"`
	Started func(Addresses) `kong:"-"`
}

// Addresses says where the parts of a running system are, as base URLs.
type Addresses struct {
	Comment, Statistics, Redis string
	Readers                    []string
}

func (c *Command) validate() error {
	for _, bound := range []struct {
		ok     bool
		reason string
	}{
		{c.Readers >= 1 && c.Readers <= 200, fmt.Sprintf("--readers must be from 1 to 200, not %d", c.Readers)},
		{c.Viewers >= 0, fmt.Sprintf("--viewers must be at least 0, not %d", c.Viewers)},
		{validPort(c.CommentPort, 1), fmt.Sprintf("--comment-port must be from 0 to 65535, not %d", c.CommentPort)},
		{validPort(c.StatisticsPort, 1), fmt.Sprintf("--statistics-port must be from 0 to 65535, not %d", c.StatisticsPort)},
		{validPort(c.ReaderPort, c.Readers), fmt.Sprintf("--reader-port=%d leaves no room for %d readers below 65536", c.ReaderPort, c.Readers)},
		{c.CommentsPerMinute >= 0, fmt.Sprintf("--comments-per-minute must be at least 0, not %g", c.CommentsPerMinute)},
		{c.Duration >= 0, fmt.Sprintf("--duration must be at least 0s, not %s", c.Duration)},
		{c.Every >= 100*time.Millisecond, fmt.Sprintf("--every must be at least 100ms, not %s", c.Every)},
	} {
		if !bound.ok {
			return config.Errorf("%s", bound.reason)
		}
	}
	if c.Viewers == 0 {
		return nil
	}
	if _, err := popularity.Audiences(popularity.Distribution(c.Popularity), c.Videos, c.Viewers); err != nil {
		return config.Errorf("--videos=%d --viewers=%d: %s", c.Videos, c.Viewers, err)
	}
	return nil
}

func validPort(first, count int) bool { return first >= 0 && (first == 0 || first+count-1 <= 65535) }

// Run brings the system up, shows the flow until ctx ends or the duration is over, and takes it down again. It fails when a
// part fails, and when in the end a viewer has missed a comment, or got one twice or out of order.
func (c *Command) Run(ctx context.Context) error {
	if err := c.validate(); err != nil {
		return err
	}
	if c.Out == nil {
		c.Out = os.Stdout
	}
	if c.Duration > 0 {
		limited, cancel := context.WithTimeout(ctx, c.Duration)
		defer cancel()
		ctx = limited
	}
	redisURL := c.RedisURL
	if redisURL == "" {
		embedded := miniredis.NewMiniRedis()
		if err := embedded.Start(); err != nil {
			return fmt.Errorf("embedded Redis: %w", err)
		}
		defer embedded.Close()
		redisURL = "redis://" + embedded.Addr()
	}
	s := &system{command: c, failed: make(chan error, c.Readers+3)}
	defer s.stopAll()
	if err := s.start(redisURL); err != nil {
		return err
	}
	if err := s.awaitReady(ctx); err != nil {
		return s.reason(err)
	}
	if c.Viewers > 0 {
		if err := s.startViewers(); err != nil {
			return err
		}
	}
	c.greet(s.at)
	if c.Started != nil {
		c.Started(s.at)
	}
	if err := c.show(ctx, s); err != nil {
		return err
	}
	return s.finish()
}

// system is what runs. Its parts stop in the reverse order of their start.
type system struct {
	command *Command
	at      Addresses
	reports reports.Config // of every part
	parts   []*part
	failed  chan error
	// listeners are closed in the end: a part that was never started does not.
	listeners []net.Listener
}

type part struct {
	stop context.CancelFunc
	done chan struct{}
}

// launch runs one part until it is stopped.
func (s *system) launch(name string, run func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	p := &part{cancel, make(chan struct{})}
	s.parts = append(s.parts, p)
	go func() {
		defer close(p.done)
		if err := run(ctx); err != nil {
			s.failed <- fmt.Errorf("%s: %w", name, err)
		}
	}()
}

// stopLast stops the part that was started last.
func (s *system) stopLast() {
	last := s.parts[len(s.parts)-1]
	s.parts = s.parts[:len(s.parts)-1]
	last.stop()
	<-last.done
}

func (s *system) stopAll() {
	for len(s.parts) > 0 {
		s.stopLast()
	}
	for _, listener := range s.listeners {
		_ = listener.Close()
	}
}

// reason is why something did not go on: a part that failed, if one did, else err.
func (s *system) reason(err error) error {
	select {
	case failure := <-s.failed:
		return failure
	default:
		return err
	}
}

// place is where a service listens.
type place struct {
	net.Listener
	name, url string
}

func (s *system) listen(name, flag string, port int) (place, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(s.command.Host, strconv.Itoa(port)))
	if err != nil {
		return place{}, fmt.Errorf("%s cannot listen (another port can be chosen with %s, another address with --host): %w", name, flag, err)
	}
	s.listeners = append(s.listeners, listener)
	at := listener.Addr().(*net.TCPAddr)
	host := at.IP.String()
	if at.IP.IsUnspecified() || host == "127.0.0.1" {
		host = "localhost"
	}
	return place{listener, name, "http://" + net.JoinHostPort(host, strconv.Itoa(at.Port))}, nil
}

// name gives a service its name, its log and where it listens.
func (s *system) name(cfg *server.Config, name string, listener net.Listener) (err error) {
	cfg.Listener, cfg.InstanceID = listener, name
	cfg.Logger, err = telemetry.NewLogger(telemetry.Config{LogLevel: s.command.LogLevel, LogFormat: "console"}, name, name)
	return err
}

// How often the parts report, and Redis is asked for the list of channels: more often than by default, because somebody is
// looking on.
const reportInterval, topicsInterval = time.Second, 2 * time.Second

func (s *system) start(redisURL string) error {
	// The pages are told where the other parts are, so all of them listen before the first starts.
	statistics, err := s.listen("statistics", "--statistics-port", s.command.StatisticsPort)
	if err != nil {
		return err
	}
	comment, err := s.listen("comment", "--comment-port", s.command.CommentPort)
	if err != nil {
		return err
	}
	readers := make([]place, s.command.Readers)
	s.at = Addresses{Comment: comment.url, Statistics: statistics.url, Redis: redisURL}
	for i := range readers {
		port := s.command.ReaderPort
		if port != 0 {
			port += i
		}
		if readers[i], err = s.listen(fmt.Sprintf("reader-%d", i+1), "--reader-port", port); err != nil {
			return err
		}
		s.at.Readers = append(s.at.Readers, readers[i].url)
	}
	if err := s.startStatistics(statistics); err != nil {
		return err
	}
	if err := s.startComment(comment); err != nil {
		return err
	}
	for _, reader := range readers {
		if err := s.startReader(reader); err != nil {
			return err
		}
	}
	return nil
}

func (s *system) startStatistics(at place) error {
	var statistics statisticsapi.Config
	err := config.Load("statistics", nil, &statistics)
	if err != nil {
		return err
	}
	if err := s.name(&statistics.Server, at.name, at.Listener); err != nil {
		return err
	}
	if statistics.ReportListener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return err
	}
	s.reports = reports.Config{
		StatisticsAPIURL: s.at.Statistics, URL: "http://" + statistics.ReportListener.Addr().String(), Interval: reportInterval,
	}
	statistics.Redis.RedisURL, statistics.TopicsInterval = s.at.Redis, topicsInterval
	statistics.Pages.ReaderURL = cmp.Or(statistics.Pages.ReaderURL, s.at.Readers[0])
	statistics.Pages.CommentURL = cmp.Or(statistics.Pages.CommentURL, s.at.Comment)
	s.launch("statistics", func(ctx context.Context) error { return statisticsapi.Run(ctx, statistics) })
	return nil
}

func (s *system) startComment(at place) error {
	var comment commentapi.Config
	if err := config.Load("comment", nil, &comment); err != nil {
		return err
	}
	if err := s.name(&comment.Server, at.name, at.Listener); err != nil {
		return err
	}
	comment.Redis.RedisURL, comment.Reports = s.at.Redis, s.reports
	s.launch(at.name, func(ctx context.Context) error { return commentapi.Run(ctx, comment) })
	return nil
}

func (s *system) startReader(at place) error {
	var reader readerapi.Config
	if err := config.Load("reader", nil, &reader); err != nil {
		return err
	}
	if err := s.name(&reader.Server, at.name, at.Listener); err != nil {
		return err
	}
	reader.Redis.RedisURL, reader.Reports = s.at.Redis, s.reports
	reader.Router.Routing, reader.Router.AdvertiseURL = s.command.Routing, at.url
	// Nobody waits here for balancers to look elsewhere.
	reader.DrainPeriod = 100 * time.Millisecond
	s.launch(at.name, func(ctx context.Context) error { return readerapi.Run(ctx, reader) })
	return nil
}

// awaitReady returns when every service answers that it is ready.
func (s *system) awaitReady(ctx context.Context) error {
	began, said := time.Now(), false
	for _, url := range append([]string{s.at.Statistics, s.at.Comment}, s.at.Readers...) {
		for get(ctx, time.Second, url+"/readyz", nil) != nil {
			if !said && time.Since(began) > time.Second {
				said = true
				s.command.say("waiting for Redis at %s\n", redacted(s.at.Redis))
			}
			select {
			case failure := <-s.failed:
				return failure
			case <-ctx.Done():
				return errors.New("stopped before everything was up")
			case <-time.After(50 * time.Millisecond):
			}
		}
	}
	return nil
}

// get fetches url and reads its JSON into into, where that is not nil. An answer other than 200 is an error.
func get(ctx context.Context, timeout time.Duration, url string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(response.Body).Decode(into)
}

func (s *system) startViewers() error {
	var viewers fleet.Config
	if err := config.Load("client", nil, &viewers); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", "0"))
	if err != nil {
		return err
	}
	if err := s.name(&viewers.Server, "client", listener); err != nil {
		return err
	}
	viewers.CommentAPIURL, viewers.ReaderAPIURLs = s.at.Comment, s.at.Readers
	viewers.Reports = s.reports
	viewers.Viewers, viewers.Videos, viewers.Popularity = s.command.Viewers, s.command.Videos, s.command.Popularity
	viewers.CommentsPerMinute = s.command.CommentsPerMinute
	s.launch("client", func(ctx context.Context) error { return fleet.Run(ctx, viewers) })
	return nil
}

// finish stops the viewers, shows what they found in the end, and stops the rest.
func (s *system) finish() error {
	if s.command.Viewers == 0 {
		s.stopAll()
		return s.reason(nil)
	}
	s.stopLast()
	totals, err := s.totals(context.Background())
	if err != nil {
		return s.reason(err)
	}
	s.command.conclude(totals)
	s.stopAll()
	return s.reason(s.verdict(totals.Viewers))
}

// verdict is why the run does not show that every viewer got everything.
func (s *system) verdict(v tally.Viewers) error {
	if v.Viewers != s.command.Viewers {
		return fmt.Errorf("the last report is of %d viewers, not of %d", v.Viewers, s.command.Viewers)
	}
	return v.Err()
}
