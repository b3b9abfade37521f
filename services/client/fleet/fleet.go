// Package fleet runs many simulated viewers, lets them post, and reports what they saw.
package fleet

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/client/ledger"
	"github.com/livecomments/livecomments/services/client/viewer"
	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/popularity"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/task"
)

// Config is everything that the client can be told. The defaults are the small scene: client-1 and client-3 watch video1,
// client-2 watches video2.
type Config struct {
	Port              int            `env:"PORT" default:"6100" validate:"min=1,max=65535" help:"Port of the probes and metrics."`
	CommentAPIURL     string         `name:"comment-api-url" env:"COMMENT_API_URL" default:"http://localhost:3000" validate:"http_url" help:"The Comment API."`
	ReaderAPIURLs     []string       `name:"reader-api-urls" env:"READER_API_URLS" default:"http://localhost:4000" validate:"min=1,dive,http_url" help:"The readers, separated by commas; each viewer picks one at random."`
	ReaderCAFile      string         `env:"READER_CA_FILE" help:"PEM file of the authority that has issued the readers' certificates, where the system does not know it."`
	Viewers           int            `env:"VIEWERS" default:"3" validate:"min=1" help:"Simulated viewers."`
	Videos            int            `env:"VIDEOS" default:"2" validate:"min=1" help:"Videos that they watch; at most as many as viewers."`
	VideoPrefix       string         `env:"VIDEO_PREFIX" default:"video" validate:"min=1,max=100" help:"Their ids are this and a number."`
	Popularity        string         `env:"POPULARITY" default:"uniform" validate:"oneof=uniform three-tier zipf celebrity" help:"How the viewers spread over the videos: uniform, three-tier, zipf or celebrity."`
	CommentsPerMinute float64        `env:"COMMENTS_PER_MINUTE" default:"15" validate:"min=0" help:"Comments that each viewer posts a minute, on average, at random times. PUT /comments-per-minute {\"commentsPerMinute\":N} changes it."`
	ConnectRate       float64        `env:"CONNECT_RATE" default:"1000" validate:"gt=0" help:"Viewers that connect a second at the start."`
	Duration          time.Duration  `env:"DURATION" default:"0s" validate:"min=0" help:"Leave after this long, with exit status 1 when a viewer missed anything or nothing arrived; 0 to stay until stopped."`
	SettleTimeout     time.Duration  `env:"SETTLE_TIMEOUT" default:"5s" validate:"min=0" help:"At a stop, how long to wait for comments that are on their way."`
	Server            server.Config  `embed:""`
	Reports           reports.Config `embed:""`
}

const (
	// individual is the most viewers that report one by one; more report as one fleet.
	individual = 20
	// postsAtOnce bounds the posts under way.
	postsAtOnce = 256
)

type fleet struct {
	cfg     Config
	log     *zap.Logger
	name    string
	pace    *pace
	ledger  *ledger.Ledger
	viewers []*member
	http    *http.Client
}

// member is a viewer and what it has posted.
type member struct {
	viewer.Viewer
	name              string
	generated, failed atomic.Uint64
}

// Run lets the viewers watch and post until ctx or DURATION ends; then they stop posting, wait for what is on its way, and
// leave. After DURATION it fails when not every viewer got every comment once and in order.
func Run(ctx context.Context, cfg Config) error {
	if err := config.Validate(&cfg); err != nil {
		return err
	}
	if cfg.Server.InstanceID == "" {
		cfg.Server.InstanceID = "client"
	}
	if err := comment.ValidateID("VIDEO_PREFIX", cfg.VideoPrefix); err != nil {
		return config.Errorf("%s", err)
	}
	if err := comment.ValidateID("INSTANCE_ID with the number of a viewer", viewerName(cfg.Server.InstanceID, individual)); err != nil {
		return config.Errorf("%s", err)
	}
	audiences, err := popularity.Audiences(popularity.Distribution(cfg.Popularity), cfg.Videos, cfg.Viewers)
	if err != nil {
		return config.Errorf("VIEWERS=%d, VIDEOS=%d: %s", cfg.Viewers, cfg.Videos, err)
	}
	trust, err := secure.Trust("READER_CA_FILE", cfg.ReaderCAFile)
	if err != nil {
		return err
	}
	srv, err := server.New("client", cfg.Port, cfg.Server)
	if err != nil {
		return err
	}
	f := newFleet(cfg, srv, trust, popularity.Assign(audiences, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))))
	defer f.http.CloseIdleConnections()
	srv.Registry.MustRegister(newMetrics(f))
	srv.Engine.PUT("/comments-per-minute", f.putPace)
	srv.Ready()

	if cfg.Duration == 0 {
		return srv.Run(ctx, f.run)
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.Duration)
	defer cancel()
	if err := srv.Run(ctx, f.run); err != nil {
		return err
	}
	return f.verdict()
}

// verdict is why the run does not show that all comments arrived; nil where it does.
func (f *fleet) verdict() error {
	total := f.total()
	if total.CommentsConsumed == 0 && f.cfg.CommentsPerMinute > 0 {
		return fmt.Errorf("no comment arrived: %d were posted, %d were not taken, %d of %d viewers never got a stream",
			total.CommentsGenerated, total.FailedPosts, total.NeverConnected, total.Viewers)
	}
	return total.Err()
}

// run lets the viewers watch and post until ctx ends. It reports all the time, and a last time when they have disconnected.
func (f *fleet) run(ctx context.Context) {
	conclude := task.Start(ctx, func(ctx context.Context) {
		reports.Run(ctx, f.cfg.Reports, f.log, f.report)
	})
	leave := task.Start(ctx, f.watch, f.check)
	f.post(ctx)
	f.settle()
	leave()
	f.ledger.Check(true)
	conclude()
	total := f.total()
	f.log.Info("all viewers have left", zap.Uint64("posted", total.CommentsGenerated), zap.Uint64("arrived", total.CommentsConsumed),
		zap.Any("verification", total.Verification), zap.Any("latencyMillis", total.LatencyMillis))
}

func newFleet(cfg Config, srv *server.Server, trust *tls.Config, videos []int) *fleet {
	f := &fleet{cfg: cfg, log: srv.Log, name: srv.Instance, pace: newPace(cfg.CommentsPerMinute), ledger: ledger.New(), http: &http.Client{Transport: &http.Transport{
		DisableCompression: true, MaxIdleConnsPerHost: postsAtOnce, ResponseHeaderTimeout: 30 * time.Second, TLSClientConfig: trust,
	}}}
	for i, video := range videos {
		m := &member{name: viewerName(srv.Instance, i+1)}
		m.Viewer = viewer.Viewer{
			UserID: fmt.Sprintf("user%d", i+1), VideoID: fmt.Sprintf("%s%d", cfg.VideoPrefix, video+1),
			Readers: cfg.ReaderAPIURLs, HTTP: f.http, Log: srv.Log,
		}
		m.Account = f.ledger.NewLog(m.VideoID)
		if len(videos) <= individual {
			m.Account.KeepTimes()
		}
		f.viewers = append(f.viewers, m)
	}
	return f
}

// viewerName is the id under which a viewer of a small fleet reports.
func viewerName(instance string, number int) string { return fmt.Sprintf("%s-%d", instance, number) }

// watch connects the viewers at CONNECT_RATE, and returns when ctx has ended and all have disconnected.
func (f *fleet) watch(ctx context.Context) {
	var watching sync.WaitGroup
	defer watching.Wait()
	began := time.Now()
	for i, m := range f.viewers {
		due := began.Add(time.Duration(float64(i) / f.cfg.ConnectRate * float64(time.Second)))
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
			watching.Go(func() { m.Run(ctx) })
		}
	}
}

func (f *fleet) check(ctx context.Context) {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.ledger.Check(false)
		}
	}
}

// post has connected viewers, chosen at random, post at exponentially distributed intervals, which makes each viewer's posts a
// Poisson process. It returns when ctx has ended and all posts are answered.
func (f *fleet) post(ctx context.Context) {
	var posting sync.WaitGroup
	defer posting.Wait()
	slots := make(chan struct{}, postsAtOnce)
	due := time.Now()
	for {
		perMinute, changed := f.pace.now()
		var turn <-chan time.Time // never, where nothing is posted
		if perMinute > 0 {
			due = due.Add(time.Duration(rand.ExpFloat64() / perMinute / float64(len(f.viewers)) * float64(time.Minute)))
			turn = time.After(time.Until(due))
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			due = time.Now()
			continue
		case <-turn:
		}
		m := f.viewers[rand.IntN(len(f.viewers))]
		if !m.Connected() {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case slots <- struct{}{}:
		}
		posting.Go(func() {
			defer func() { <-slots }()
			if err := f.send(context.WithoutCancel(ctx), m); err != nil {
				m.failed.Add(1)
				f.log.Debug("a post failed", zap.String("client", m.name), zap.Error(err))
			}
		})
	}
}

var texts = []string{"what a save!", "hello from the back row", "did you see that?", "again, again!", "first time here, love it", "no way 😂", "goal!!!", "the sound is great today"}

func (f *fleet) send(ctx context.Context, m *member) error {
	ctx, cancel := context.WithTimeout(ctx, ledger.PostTimeout)
	defer cancel()
	text := fmt.Sprintf("%s (%d)", texts[rand.IntN(len(texts))], m.generated.Load()+1)
	body, err := json.Marshal(map[string]string{"userid": m.UserID, "videoid": m.VideoID, "comment": text})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimSuffix(f.cfg.CommentAPIURL, "/")+"/comment", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	sent := time.Now()
	response, err := f.http.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("%s: %s", response.Status, answer)
	}
	var created struct{ Comment comment.Comment }
	if err := json.Unmarshal(answer, &created); err != nil || created.Comment.ID.IsZero() {
		return errors.Join(fmt.Errorf("answered 201 with %.200q", answer), err)
	}
	m.generated.Add(1)
	f.ledger.Posted(m.VideoID, created.Comment.ID, sent)
	return nil
}

// settle waits until every comment has arrived, or for SETTLE_TIMEOUT.
func (f *fleet) settle() {
	deadline := time.Now().Add(f.cfg.SettleTimeout)
	for time.Now().Before(deadline) && f.ledger.Due() > 0 {
		time.Sleep(20 * time.Millisecond)
	}
}
