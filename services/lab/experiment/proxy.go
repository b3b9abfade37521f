package experiment

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/livecomments/livecomments/services/lab/process"
)

// findHAProxy finds the binary in the PATH, or where Debian has it, which is not in the PATH of everybody.
func findHAProxy() (binary string, found bool) {
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if binary, err := exec.LookPath(name); err == nil {
			return binary, true
		}
	}
	return "", false
}

// proxySettings has one thread, which is the least processor time a delivery, and nothing that ends or collects a stream.
const proxySettings = `
global
  nbthread 1
  maxconn %d
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  option http-no-delay
frontend viewers
  bind %s
  default_backend readers
backend readers
  balance url_param videoid
  hash-type consistent
  hash-balance-factor 125
%s`

// startProxy puts HAProxy in front of the readers. It sends the viewers of a video to the same reader, by a consistent hash with
// bounded loads of its own; the readers place nobody.
func (s *system) startProxy(ctx context.Context, binary string) error {
	reserved, err := s.reserve()
	if err != nil {
		return err
	}
	var servers strings.Builder
	for _, r := range s.readers {
		fmt.Fprintf(&servers, "  server %s %s\n", r.name, r.Address)
	}
	settings := filepath.Join(s.dir, "haproxy.cfg")
	if err := os.WriteFile(settings, fmt.Appendf(nil, proxySettings, s.Viewers+100, reserved.Address(), servers.String()), 0o600); err != nil {
		return err
	}
	command := exec.Command(binary, "-db", "-f", settings) //nolint:gosec // it is HAProxy
	if s.proxy, err = process.Start(reserved.Address(), command); err != nil {
		return err
	}
	return s.awaitProxy(ctx)
}

func (s *system) awaitProxy(ctx context.Context) error {
	for {
		connection, err := new(net.Dialer).DialContext(ctx, "tcp", s.proxy.Address)
		if err == nil {
			return connection.Close()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-s.proxy.Ended():
			return errors.New("HAProxy has ended")
		case <-time.After(5 * time.Millisecond):
		}
	}
}
