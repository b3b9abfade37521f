package tally

// Sizes are how many processes of Comment APIs a Tally holds: those that report, and those that it remembers.
func (t *Tally) Sizes() (reporting, remembered int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for range t.comments.all() {
		reporting++
	}
	return reporting, t.comments.remembered.Len()
}
