// Package feed tells the page of the fleet how the system is, every second: what GET /statistics says, and what the page adds up
// from it. One snapshot is made for all who watch, and none while nobody does.
package feed

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/statistics/tally"
)

const (
	// interval is the time between two snapshots, and between two samples of the past.
	interval = time.Second
	// history is how many samples of the past a page begins with: five minutes.
	history = 300
	// writeTimeout is how long a page may take nothing before its stream is cut.
	writeTimeout = 10 * time.Second
)

// Feed is what the pages of the fleet are sent.
type Feed struct {
	tally    *tally.Tally
	redis    *redis
	most     int
	draining <-chan struct{}
	joined   chan struct{} // has an element when there is nothing fresh for one that has come

	mu       sync.Mutex
	past     []sample
	latest   []byte // the event of the last snapshot
	made     time.Time
	watchers map[*watcher]struct{}
}

// watcher is one open page.
type watcher struct {
	// next is the newest snapshot that was not sent yet. A page that is slow misses those before it.
	next chan []byte
}

// New makes a Feed of what t and Redis, which ask asks, know. As many as most may watch at a time. Their streams end when draining
// is closed.
func New(t *tally.Tally, ask func(context.Context) (broker.Info, error), most int, draining <-chan struct{}) *Feed {
	return &Feed{
		tally: t, redis: &redis{ask: ask}, most: most, draining: draining,
		joined: make(chan struct{}, 1), watchers: map[*watcher]struct{}{},
	}
}

// Run samples and takes snapshots until ctx ends.
func (f *Feed) Run(ctx context.Context) {
	var asking sync.WaitGroup
	defer asking.Wait()
	asking.Go(func() { f.redis.run(ctx, f.watched) })
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			f.sample()
			if f.watched() {
				f.publish()
			}
		case <-f.joined:
			// Of several who came together, the first has had one made for all.
			if !f.fresh() {
				f.publish()
			}
		}
	}
}

func (f *Feed) watched() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.watchers) > 0
}

// fresh reports whether the latest snapshot is that of this second.
func (f *Feed) fresh() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Since(f.made) < interval
}

// sample adds the present to the past.
func (f *Feed) sample() {
	rates, latency := f.tally.Flow()
	now := newSample(time.Now(), rates, latency)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.past = append(f.past, now)
	if len(f.past) > history {
		f.past = f.past[1:]
	}
}

// publish makes a snapshot and gives it to all who watch.
func (f *Feed) publish() {
	event := encode("", newSnapshot(f.tally.Totals(), f.redis.figures()))
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest, f.made = event, time.Now()
	for w := range f.watchers {
		w.give(event)
	}
}

// give replaces what the watcher has not been sent yet. Only one at a time may call it.
func (w *watcher) give(event []byte) {
	select {
	case <-w.next:
	default:
	}
	w.next <- event
}

// join adds a watcher and returns the past, as an event. It returns no watcher where there are as many as may be.
func (f *Feed) join() (*watcher, []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.watchers) >= f.most {
		return nil, nil
	}
	past := encode("past", map[string]any{"samples": append([]sample{}, f.past...)})
	w := &watcher{make(chan []byte, 1)}
	f.watchers[w] = struct{}{}
	if time.Since(f.made) < interval {
		w.give(f.latest)
	} else {
		select {
		case f.joined <- struct{}{}:
		default:
		}
	}
	return w, past
}

func (f *Feed) leave(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.watchers, w)
}

// Serve answers with an event stream that goes on until the page is closed or the service stops.
func (f *Feed) Serve(c *gin.Context) {
	w, event := f.join()
	if w == nil {
		c.Header("Retry-After", "10")
		server.Fail(c, http.StatusServiceUnavailable, "as many pages show the fleet as may (PAGES_WATCHERS=%d); try again", f.most)
		return
	}
	defer f.leave(w)
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	// nginx and its like would keep the events back.
	c.Header("X-Accel-Buffering", "no")
	connection := http.NewResponseController(c.Writer)
	for {
		// Not every ResponseWriter has deadlines; those of tests need none.
		_ = connection.SetWriteDeadline(time.Now().Add(writeTimeout))
		if _, err := c.Writer.Write(event); err != nil {
			return
		}
		if err := connection.Flush(); err != nil {
			return
		}
		select {
		case <-c.Request.Context().Done():
			return
		case <-f.draining:
			return
		case event = <-w.next:
		}
	}
}

// encode is an event whose data is value in JSON, in one line.
func encode(name string, value any) []byte {
	var event bytes.Buffer
	if name != "" {
		event.WriteString("event: " + name + "\n")
	}
	event.WriteString("data: ")
	// It ends with a line break.
	if err := json.NewEncoder(&event).Encode(value); err != nil {
		panic(err) // every value is of our own types
	}
	event.WriteByte('\n')
	return event.Bytes()
}
