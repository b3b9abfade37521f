package broker

import "time"

// PingAfterInTests is how long a connection may be silent in tests.
const PingAfterInTests = 100 * time.Millisecond

// PingOften makes tests of dead connections short.
func (s *Subscription) PingOften() {
	for _, c := range s.connections {
		c.pingAfter = PingAfterInTests
	}
}
