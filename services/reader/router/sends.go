package router

import (
	"sync"
	"time"
)

// sends counts the viewers that were sent to one reader, for as long as its announcement cannot have them.
type sends struct {
	mu     sync.Mutex
	recent []send // ascending by time
}

// send is viewers that were sent at about one time.
type send struct {
	at      time.Time
	viewers int
}

const (
	// travel is about how long after it was sent a viewer is counted where it was sent to.
	travel = 200 * time.Millisecond
	// sendGrain is how far apart two sends must be to be told apart.
	sendGrain = 50 * time.Millisecond
	// longestSent is how long it counts at the most: while Redis is away nobody says who has come, nor who has left since.
	longestSent = 10 * time.Second
)

func (s *sends) add(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last := len(s.recent) - 1; last >= 0 && now.Sub(s.recent[last].at) < sendGrain {
		s.recent[last].viewers++
		return
	}
	s.recent = append(s.recent, send{now, 1})
}

// since is how many were sent after a time, and forgets those before.
func (s *sends) since(from time.Time) (viewers int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if oldest := time.Now().Add(-longestSent); from.Before(oldest) {
		from = oldest
	}
	for len(s.recent) > 0 && s.recent[0].at.Before(from) {
		s.recent = s.recent[1:]
	}
	for _, one := range s.recent {
		viewers += one.viewers
	}
	return viewers
}
