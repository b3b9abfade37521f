// Package ledger checks what simulated viewers get: it compares the comments that were answered 201 with those that arrived at
// each viewer.
//
// Every comment on a viewer's video whose id comes after the position at which its stream began must arrive, once, and
// in the order of the ids. A comment is missing when a later one has arrived and it has not; until then it is pending.
package ledger

import (
	"math"
	"slices"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/shared/comment"
	"github.com/livecomments/livecomments/services/shared/reports"
)

// PostTimeout bounds how long the answer to a post may take. Comments younger than it are not judged, because an earlier one
// may still be unanswered.
const PostTimeout = 5 * time.Second

const (
	settle       = PostTimeout + time.Second
	settleMillis = uint64(settle / time.Millisecond)
	// pendingAfter is how long a comment may be on its way before it counts as pending.
	pendingAfter = time.Second
	// keptArrivals is how many judged arrivals a viewer keeps at least, to recognise duplicates.
	keptArrivals = 64
)

// Ledger has the posts and arrivals of all viewers in one process. It is safe for concurrent use.
type Ledger struct {
	times    times
	mu       sync.Mutex
	videos   map[string]*video
	newest   comment.ID
	newestAt time.Time // when newest was noted
}

// video is guarded by its own mu, as are its logs.
type video struct {
	mu    sync.Mutex
	posts []post // ascending by id
	logs  []*Log
}

type post struct {
	id             comment.ID
	sent, answered time.Time
}

// New makes an empty ledger.
func New() *Ledger {
	return &Ledger{videos: map[string]*video{}, times: newTimes()}
}

func (l *Ledger) video(id string) *video {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.videos[id] == nil {
		l.videos[id] = &video{}
	}
	return l.videos[id]
}

// Posted notes that a comment was answered 201; sent is when its post began.
func (l *Ledger) Posted(videoID string, id comment.ID, sent time.Time) {
	now := time.Now()
	v := l.video(videoID)
	v.mu.Lock()
	at, _ := search(v.posts, id)
	v.posts = slices.Insert(v.posts, at, post{id, sent, now})
	for _, log := range v.logs {
		// A reader must not hide a loss by a position that lies in the future.
		if log.began && sent.After(log.beganAt) && !id.After(log.start) {
			log.counts.Missing++
		}
	}
	v.mu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.newestAt = now
	if id.After(l.newest) {
		l.newest = id
	}
}

// Log is what one viewer has seen of its video. It is safe for concurrent use.
type Log struct {
	ledger *Ledger
	video  *video

	tried    time.Time // when a stream was last asked for; 0 before the first time
	ended    time.Time // when the last stream ended; 0 while there is none before, or the next has begun
	began    bool
	beganAt  time.Time
	start    comment.ID
	last     comment.ID
	judged   comment.ID              // every post up to here has been looked for
	arrivals []arrival               // ascending by id, with some that are judged
	missed   map[comment.ID]struct{} // those that count as missing
	counts   Counts
	times    times // empty where they are not kept for this viewer alone
}

type arrival struct {
	id comment.ID
	at time.Time
}

// Counts sums up a viewer's log.
type Counts struct {
	Consumed uint64
	reports.Verification
}

// NewLog opens the log of a viewer of a video.
func (l *Ledger) NewLog(videoID string) *Log {
	log := &Log{ledger: l, video: l.video(videoID), missed: map[comment.ID]struct{}{}}
	log.video.mu.Lock()
	defer log.video.mu.Unlock()
	log.video.logs = append(log.video.logs, log)
	return log
}

// KeepTimes has the log keep distributions of its own, beside those of all viewers. It comes before anything is noted.
func (g *Log) KeepTimes() { g.times = newTimes() }

// Trying notes that the viewer asks for a stream.
func (g *Log) Trying() {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	g.tried = time.Now()
}

// Ended notes that the viewer's stream has ended.
func (g *Log) Ended() {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	g.ended = time.Now()
}

// Connected notes the position at which a stream began. Only the first counts: a later stream must continue where the one
// before ended.
func (g *Log) Connected(at comment.ID) {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	if !g.tried.IsZero() {
		g.record(firstEvent, time.Since(g.tried))
	}
	if !g.ended.IsZero() {
		g.record(outage, time.Since(g.ended))
		g.ended = time.Time{}
	}
	if g.began {
		g.counts.Reconnects++
		return
	}
	g.began, g.beganAt, g.start, g.last, g.judged = true, time.Now(), at, at, at
}

// Corrupt notes an arrival that was not a comment on the viewer's video.
func (g *Log) Corrupt() {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	g.counts.Corrupt++
}

// Gap notes that the reader has announced one.
func (g *Log) Gap() {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	g.counts.Gaps++
}

// Arrived notes a comment.
func (g *Log) Arrived(id comment.ID, at time.Time) {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	where, known := search(g.arrivals, id)
	_, missed := g.missed[id]
	switch {
	case known, !missed && !id.After(g.judged):
		g.counts.Duplicates++
		return
	case missed:
		delete(g.missed, id)
		g.counts.Missing--
		g.counts.Misordered++
	case !id.After(g.last):
		g.counts.Misordered++
	default:
		g.last = id
	}
	g.counts.Consumed++
	g.arrivals = slices.Insert(g.arrivals, where, arrival{id, at})
}

// Counts is the counts as of the last Check.
func (g *Log) Counts() Counts {
	g.video.mu.Lock()
	defer g.video.mu.Unlock()
	counts := g.counts
	if !g.tried.IsZero() && !g.began {
		counts.NeverConnected = 1
	}
	return counts
}

// Times are the log's own distributions, empty where it keeps none.
func (g *Log) Times() Times { return g.times.summary() }

func (g *Log) record(kind int, length time.Duration) {
	g.ledger.times.record(kind, length)
	g.times.record(kind, length)
}

// Check compares what has arrived with what was posted. With final set, nothing more is expected: what has not arrived is
// missing.
func (l *Ledger) Check(final bool) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	horizon := comment.ID{Millis: l.newest.Millis - min(l.newest.Millis, settleMillis)}
	if final || now.Sub(l.newestAt) > settle {
		// No answer is outstanding: everything can be judged, other people's comments too.
		horizon = comment.ID{Millis: math.MaxUint64}
	}
	for _, v := range l.videos {
		v.check(horizon, now, final)
	}
}

// Times are the distributions of all viewers since the beginning.
func (l *Ledger) Times() Times { return l.times.summary() }

func (v *video) check(horizon comment.ID, now time.Time, final bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	done := horizon
	for _, log := range v.logs {
		if !log.began {
			continue
		}
		log.check(v.posts, horizon, now, final)
		if done.After(log.judged) {
			done = log.judged
		}
	}
	if len(v.logs) > 0 {
		v.posts = slices.Delete(v.posts, 0, firstAfter(v.posts, done))
	}
}

func (p post) key() comment.ID    { return p.id }
func (a arrival) key() comment.ID { return a.id }

// search finds the index of id in a list that ascends by id, or the index where it would be inserted.
func search[E interface{ key() comment.ID }](list []E, id comment.ID) (at int, found bool) {
	return slices.BinarySearchFunc(list, id, func(e E, id comment.ID) int { return e.key().Compare(id) })
}

func firstAfter(posts []post, id comment.ID) int {
	at, found := search(posts, id)
	if found {
		at++
	}
	return at
}

func (g *Log) check(posts []post, horizon comment.ID, now time.Time, final bool) {
	if !final && horizon.After(g.last) {
		// What comes after the last arrival may still be on its way.
		horizon = g.last
	}
	rest := posts[firstAfter(posts, g.judged):]
	for len(rest) > 0 && !rest[0].id.After(horizon) {
		if at, found := g.arrival(rest[0].id); found {
			g.record(latency, at.Sub(rest[0].sent))
		} else {
			g.missed[rest[0].id] = struct{}{}
			g.counts.Missing++
		}
		rest = rest[1:]
	}
	if horizon.After(g.judged) {
		g.judged = horizon
	}
	g.counts.Pending = 0
	for _, p := range rest {
		if p.id.After(g.last) && now.Sub(p.answered) > pendingAfter {
			g.counts.Pending++
		}
	}
	g.forget()
}

func (g *Log) arrival(id comment.ID) (time.Time, bool) {
	at, found := search(g.arrivals, id)
	if !found {
		return time.Time{}, false
	}
	return g.arrivals[at].at, true
}

// forget drops judged arrivals, except the last few.
func (g *Log) forget() {
	drop := 0
	for drop < len(g.arrivals)-keptArrivals && !g.arrivals[drop].id.After(g.judged) {
		drop++
	}
	g.arrivals = slices.Delete(g.arrivals, 0, drop)
}

// Due is how many arrivals are outstanding at this moment, over all viewers that have begun to watch.
func (l *Ledger) Due() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	due := 0
	for _, v := range l.videos {
		v.mu.Lock()
		for _, log := range v.logs {
			if log.began {
				due += len(v.posts) - firstAfter(v.posts, log.last)
			}
		}
		v.mu.Unlock()
	}
	return due
}
