package router

import (
	"context"
	"maps"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/livecomments/livecomments/services/shared/fleet"
)

// probes finds out whether readers answer at their addresses.
type probes struct {
	mu      sync.Mutex
	results map[string]*probe
}

type probe struct {
	mu  sync.Mutex
	at  time.Time
	yes bool
}

const (
	// probeTimeout is how long a reader may take to accept a connection.
	probeTimeout = 300 * time.Millisecond
	// probeValid is how long an answer holds.
	probeValid = time.Second
)

// answers reports whether somebody accepts connections at an address. Many who ask at once share an answer.
func (p *probes) answers(ctx context.Context, address string) bool {
	p.mu.Lock()
	if p.results == nil {
		p.results = map[string]*probe{}
	}
	one := p.results[address]
	if one == nil {
		one = &probe{}
		p.results[address] = one
	}
	p.mu.Unlock()
	one.mu.Lock()
	defer one.mu.Unlock()
	if time.Since(one.at) > probeValid {
		one.yes = accepts(ctx, address)
		one.at = time.Now()
	}
	return one.yes
}

// forget drops what is known of addresses that no member has.
func (p *probes) forget(members []fleet.Member) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.results, func(address string, _ *probe) bool {
		return !slices.ContainsFunc(members, func(m fleet.Member) bool { return m.Address == address })
	})
}

// accepts reports whether a connection to the host and port of a URL can be made.
func accepts(ctx context.Context, address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	port := u.Port()
	if port == "" {
		port = u.Scheme // dialing takes the name of a service too
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), probeTimeout)
	defer cancel()
	var dialer net.Dialer
	connection, err := dialer.DialContext(limited, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return false
	}
	_ = connection.Close()
	return true
}
