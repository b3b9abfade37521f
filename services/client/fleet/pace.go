package fleet

import (
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/shared/server"
)

// pace is how many comments each viewer posts a minute, on average. It can change while they do.
type pace struct {
	mu        sync.Mutex
	perMinute float64
	next      chan struct{} // closed when perMinute changes
}

func newPace(perMinute float64) *pace { return &pace{perMinute: perMinute, next: make(chan struct{})} }

// now is the pace at this moment, and a channel that is closed when it changes.
func (p *pace) now() (perMinute float64, changed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.perMinute, p.next
}

func (p *pace) set(perMinute float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.next)
	p.perMinute, p.next = perMinute, make(chan struct{})
}

// putPace changes the pace, for measurements that begin when all viewers are where they belong.
func (f *fleet) putPace(c *gin.Context) {
	body := struct {
		CommentsPerMinute float64 `json:"commentsPerMinute"`
	}{-1}
	if !server.ReadJSON(c, &body) {
		return
	}
	if body.CommentsPerMinute < 0 {
		server.Fail(c, http.StatusBadRequest, "commentsPerMinute is required, and at least 0")
		return
	}
	f.pace.set(body.CommentsPerMinute)
	server.JSON(c, http.StatusOK, body)
}
