package ledger

// Held is how many posts and arrivals the ledger has in memory for a video.
func (l *Ledger) Held(videoID string) (posts, arrivals int) {
	v := l.video(videoID)
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, log := range v.logs {
		arrivals += len(log.arrivals)
	}
	return len(v.posts), arrivals
}
