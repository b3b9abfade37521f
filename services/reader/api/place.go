package api

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/reader/fanout"
	"github.com/livecomments/livecomments/services/reader/router"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/fleet"
	"github.com/livecomments/livecomments/services/shared/server"
)

// place has viewers placed by the router. It returns the tasks that this takes.
func (a *api) place(srv *server.Server, redis *broker.Broker) []func(context.Context) {
	a.router.Register(srv.Registry)
	srv.VouchForOrigin(a.vouchForOrigin)
	srv.Get("/fleet", a.showFleet)
	if a.cfg.Router.BehindGateway {
		srv.Get("/place", a.locate)
	}
	srv.Linger(a.cfg.linger())
	permitted := make(chan struct{}) // closed when Redis permits all that this takes: a reader that can hold no viewer is sent none
	return []func(context.Context){
		func(ctx context.Context) {
			select {
			case <-permitted:
				a.router.Run(ctx)
			case <-ctx.Done():
			}
		},
		srv.ReadyAfter("Redis", func(ctx context.Context) error {
			if err := redis.Await(ctx, broker.Placing, srv.NotReady); err != nil {
				return err
			}
			close(permitted)
			return a.router.Await(ctx)
		}),
		func(ctx context.Context) {
			select {
			case <-srv.Stopping():
				a.router.Drain()
			case <-ctx.Done():
			}
		},
	}
}

// linger is how long after a drain the last of the viewers whose streams it has ended come back, to be sent to other readers.
func (c *Config) linger() time.Duration { return c.Retry*3/2 + time.Second }

// route sends a viewer on that belongs to another reader, and reports whether it has. Else the verdict says what it is here.
func (a *api) route(c *gin.Context, viewer request, resumes bool) (verdict router.Verdict, sentOn bool) {
	if a.router == nil {
		return verdict, false
	}
	if a.router.View() == nil {
		a.router.Spend(a.router.MarkOf(c.Request))
		return verdict, false
	}
	verdict = a.router.Place(c.Request.Context(), router.Viewer{
		User: viewer.UserID, Video: viewer.VideoID, Resumes: resumes, Mark: a.router.MarkOf(c.Request),
		Origin: origin(c), Credentials: a.credentials(c),
	})
	if verdict.To == "" {
		return verdict, false
	}
	to := router.Location(verdict.To, c.Request.URL, verdict.Mark)
	c.Header("Location", to)
	c.Header("Cache-Control", "no-store")
	// The viewer's next connection is to another reader.
	c.Header("Connection", "close")
	server.JSON(c, http.StatusTemporaryRedirect, gin.H{"location": to})
	return verdict, true
}

// locate answers a gateway that asks where a viewer belongs: the URL of a reader, and the mark that the viewer is to be given.
func (a *api) locate(c *gin.Context) {
	viewer := request{UserID: c.Query("userid"), VideoID: c.Query("videoid")}
	position, err := validate(c, viewer, a.cfg.Redis.HistoryLength)
	if err != nil {
		server.Fail(c, http.StatusBadRequest, "%s", err)
		return
	}
	if a.router.View() == nil {
		a.refuse(c, errRedis)
		return
	}
	verdict, found := a.router.Locate(c.Request.Context(), router.Viewer{User: viewer.UserID, Video: viewer.VideoID, Resumes: position.After != nil})
	if !found {
		// It is counted where the viewer comes, and here more than once: the gateway asks others too.
		c.Header("Retry-After", retryAfter())
		server.Fail(c, http.StatusServiceUnavailable, "no reader has room for the viewer")
		return
	}
	c.Header("Cache-Control", "no-store")
	server.JSON(c, http.StatusOK, gin.H{"reader": verdict.To, "mark": verdict.Mark})
}

// keep counts a viewer that stays until it leaves.
func (a *api) keep(video string, leave func(fanout.Reason)) func(fanout.Reason) {
	release := a.router.Keep(video)
	return func(why fanout.Reason) { release(); leave(why) }
}

// origin is that of the viewer's page, which the server has let in. Browsers send none from a page of the reader's own, and
// "null" where they do not say.
func origin(c *gin.Context) string {
	if origin := c.GetHeader("Origin"); origin != "null" {
		return origin
	}
	return ""
}

// credentials are those of a request, where they count.
func (a *api) credentials(c *gin.Context) string {
	if !a.cfg.Server.CORSCredentials {
		return ""
	}
	return strings.Join(append(c.Request.Header.Values("Authorization"), c.Request.Header.Values("Cookie")...), "\n")
}

// vouchForOrigin is the origin of a page whose viewer another reader has sent here.
func (a *api) vouchForOrigin(c *gin.Context) string {
	if c.Request.URL.Path != "/connect" {
		return ""
	}
	return a.router.VouchForOrigin(a.router.MarkOf(c.Request), a.credentials(c), c.Request.Method == http.MethodOptions)
}

// streams is the reader's streams as the router sees them.
type streams struct{ *api }

func (s streams) Count() int        { return int(s.admitted.Load()) }
func (s streams) Capacity() int     { return int(s.cfg.MaxConnections) }
func (s streams) Delivered() uint64 { return s.engine.Stats().Comments }

func (s streams) Audience(video string) int { return s.feed.Audience(video) }

func (s streams) Audiences(each func(video string, viewers int, topic *fanout.Topic)) {
	s.feed.Audiences(each)
}

func (s streams) Move(topic *fanout.Topic, n int) { s.engine.Move(topic, n) }

// showFleet answers with the fleet as this reader sees it.
func (a *api) showFleet(c *gin.Context) {
	type member struct {
		fleet.Member
		AgeMillis int64 `json:"ageMillis"`
	}
	view := a.router.View()
	if view == nil {
		server.Fail(c, http.StatusServiceUnavailable, "the fleet is not known yet: Redis has not answered")
		return
	}
	members := make([]member, len(view.Members))
	for i, m := range view.Members {
		members[i] = member{m, view.Age(i, time.Now()).Milliseconds()}
	}
	server.JSON(c, http.StatusOK, gin.H{
		"instance": a.instance, "routing": a.cfg.Router.Routing, "readers": members, "misplaced": a.router.Misplaced(), "steady": view.Steady,
	})
}
