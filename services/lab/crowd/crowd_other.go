//go:build !linux

package crowd

import (
	"context"
	"crypto/tls"
	"errors"
)

// Crowd is viewers. There are none on this system.
type Crowd struct{}

// New says that there is no crowd on this system.
func New(...string) (*Crowd, error) {
	return nil, errors.New("a crowd of viewers needs Linux, for epoll")
}

// SetDoors does nothing.
func (*Crowd) SetDoors(...string) error { return nil }

// SpeakTLS does nothing.
func (*Crowd) SpeakTLS(*tls.Config) {}

// Connect adds nobody.
func (*Crowd) Connect(int, ...Viewer) error { return nil }

// Await returns at once.
func (*Crowd) Await(context.Context, func(Figures) bool) error { return nil }

// Figures are none.
func (*Crowd) Figures() Figures { return Figures{} }

// Reset returns none.
func (*Crowd) Reset() Figures { return newFigures() }

// Close does nothing.
func (*Crowd) Close() {}
