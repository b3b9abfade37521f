package broker

// channel is what a connection knows of one of its channels:
//
//	               send                    confirm
//	    ┌─────────┐────►┌──────┐─────────────────────────►┌───────────┐
//	───►│ pending │     │ sent │◄── interrupt (the library │ confirmed │───► removed, if it is not wanted
//	    └─────────┘     └──────┘    subscribes again) ─────└───────────┘
//	     ▲   ▲   ▲         │ change                             │ change
//	     │   │   │         ▼                                    │
//	     │   │   │ confirm┌─────────┐                           │
//	     │   │   └────────│ changed │                           │
//	     │   │            └─────────┘                           │
//	     │   └─── fail, overdue ── sent, changed                │
//	     └──────────────────────────────────────────────────────┘
//
// Redis is sent one command at a time for each channel, and another one only when that is confirmed, lost or overdue.
type channel struct {
	name   string
	state  channelState
	wanted bool // whether it is to be subscribed to
	checks int  // how many checks have found it neither confirmed nor changed
}

type channelState int

const (
	// pending waits for a command to be sent.
	pending channelState = iota
	// sent waits for the confirmation of a command that says what is wanted.
	sent
	// changed waits for the confirmation of a command that no longer says what is wanted.
	changed
	// confirmed is as wanted, by Redis' word.
	confirmed
)

// maxUnconfirmedChecks is how many checks a command may stay unconfirmed before it is sent again.
const maxUnconfirmedChecks = 2

// change notes what is wanted now.
func (c *channel) change(wanted bool) {
	c.wanted, c.checks = wanted, 0
	switch c.state {
	case sent:
		c.state = changed
	case confirmed:
		c.state = pending
	case pending, changed:
	}
}

// send notes that a command for what is wanted goes to Redis.
func (c *channel) send() { c.state = sent }

// fail notes that a command did not go to Redis, or that no answer to it will come.
func (c *channel) fail() {
	if c.state == sent || c.state == changed {
		c.state = pending
	}
}

// confirm notes that Redis has subscribed to the channel, or has given it up.
func (c *channel) confirm(subscribed bool) {
	switch c.state {
	case changed:
		c.state = pending
	case sent:
		// After an interruption the library subscribes by itself; its confirmations are not those of a command to give up.
		if c.wanted == subscribed {
			c.state, c.checks = confirmed, 0
		}
	case pending, confirmed:
	}
}

// interrupt notes that the connection broke. On the next one the library subscribes again to what was confirmed.
func (c *channel) interrupt() {
	if c.state == confirmed {
		c.state, c.checks = sent, 0
		return
	}
	c.fail()
}

// overdue counts a check, and reports whether the channel's command has to be sent again.
func (c *channel) overdue() bool {
	if c.state != sent && c.state != changed {
		return false
	}
	if c.checks++; c.checks <= maxUnconfirmedChecks {
		return false
	}
	c.state, c.checks = pending, 0
	return true
}

// settled reports whether there is nothing left to do for the channel, which is not wanted.
func (c *channel) settled() bool { return c.state == confirmed && !c.wanted }
