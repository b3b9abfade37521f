package broker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// steps are what can happen to a channel, by name.
var steps = map[string]func(*channel){
	"want":         func(c *channel) { c.change(true) },
	"give up":      func(c *channel) { c.change(false) },
	"send":         (*channel).send,
	"fail":         (*channel).fail,
	"subscribed":   func(c *channel) { c.confirm(true) },
	"unsubscribed": func(c *channel) { c.confirm(false) },
	"interrupt":    (*channel).interrupt,
	"check":        func(c *channel) { c.overdue() },
}

func TestAChannelIsConfirmedOnlyByTheAnswerToItsLatestCommand(t *testing.T) {
	tests := map[string]struct {
		happens string
		state   channelState
		wanted  bool
	}{
		"new":                                            {"want", pending, true},
		"its command is sent":                            {"want, send", sent, true},
		"Redis confirms":                                 {"want, send, subscribed", confirmed, true},
		"given up before its command is sent":            {"want, give up", pending, false},
		"given up while the answer is awaited":           {"want, send, give up", changed, false},
		"the answer to the old command":                  {"want, send, give up, subscribed", pending, false},
		"the answer to the new one":                      {"want, send, give up, subscribed, send, unsubscribed", confirmed, false},
		"wanted again while the answer is awaited":       {"want, send, give up, want, subscribed", pending, true},
		"given up":                                       {"want, send, subscribed, give up, send, unsubscribed", confirmed, false},
		"a confirmation that is not of the command":      {"want, send, subscribed, give up, send, subscribed", sent, false},
		"the command could not be sent":                  {"want, send, fail", pending, true},
		"the changed command could not be sent":          {"want, send, give up, fail", pending, false},
		"a break after the confirmation":                 {"want, send, subscribed, interrupt", sent, true},
		"the library subscribes again after the break":   {"want, send, subscribed, interrupt, subscribed", confirmed, true},
		"a break before the confirmation":                {"want, send, interrupt", pending, true},
		"a break before the command":                     {"want, interrupt", pending, true},
		"given up during the break":                      {"want, send, subscribed, interrupt, give up", changed, false},
		"the library has subscribed again all the same":  {"want, send, subscribed, interrupt, give up, subscribed", pending, false},
		"a confirmation that nobody asked for":           {"want, send, subscribed, subscribed", confirmed, true},
		"a confirmation before the command":              {"want, subscribed", pending, true},
		"patience with a slow Redis":                     {"want, send, check, check", sent, true},
		"a confirmation that does not come":              {"want, send, check, check, check", pending, true},
		"one of a changed command that does not come":    {"want, send, give up, check, check, check", pending, false},
		"checks of a confirmed channel":                  {"want, send, subscribed, check, check, check", confirmed, true},
		"a change begins the patience anew":              {"want, send, check, check, give up, check", changed, false},
		"a confirmation begins the patience anew":        {"want, send, check, check, subscribed, interrupt, check", sent, true},
		"given up and wanted again after a confirmation": {"want, send, subscribed, give up, want", pending, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := &channel{name: "video:v"}
			for step := range strings.SplitSeq(test.happens, ", ") {
				require.Contains(t, steps, step)
				steps[step](c)
			}
			assert.Equal(t, test.state, c.state)
			assert.Equal(t, test.wanted, c.wanted)
			assert.Equal(t, test.state == confirmed && !test.wanted, c.settled())
		})
	}
}
