package bench

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/port"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
)

func openBroker(address string) (*broker.Broker, error) {
	return broker.Open(broker.Config{RedisURL: "redis://" + address, HistoryLength: 1000, HistoryTTL: time.Hour}, zap.NewNop())
}

// maxConnections is a reader's MAX_CONNECTIONS where a scene does not set it.
const maxConnections = 20_000

// startReader starts a reader with the default settings, but for those given, and returns when it is ready.
func (b *bench) startReader(ctx context.Context, redisAddress string, settings ...string) (*process.Process, error) {
	reserved, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	defer reserved.Release()
	return process.Serve(ctx, reserved, b.Reader, b.settings(redisAddress, settings)...)
}

// startSecured is startReader for one that speaks TLS. It has a certificate of its own, below dir.
func (b *bench) startSecured(ctx context.Context, dir, redisAddress string) (*process.Process, *tls.Config, error) {
	issuer, err := authority.New()
	if err != nil {
		return nil, nil, err
	}
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	if err := issuer.IssueFiles(certFile, keyFile); err != nil {
		return nil, nil, err
	}
	reserved, err := port.Reserve()
	if err != nil {
		return nil, nil, err
	}
	defer reserved.Release()
	trust := &tls.Config{RootCAs: issuer.Pool(), ServerName: "localhost"}
	settings := b.settings(redisAddress, []string{"TLS_CERT_FILE=" + certFile, "TLS_KEY_FILE=" + keyFile})
	p, err := process.ServeTLS(ctx, trust, reserved, b.Reader, settings...)
	return p, trust, err
}

func (b *bench) settings(redisAddress string, more []string) []string {
	return append([]string{
		"REDIS_URL=redis://" + redisAddress, "STATISTICS_API_URL=", "LOG_LEVEL=error", fmt.Sprint("MAX_CONNECTIONS=", maxConnections),
	}, more...)
}

// floorProcess is this program, started again as the floor.
type floorProcess struct {
	*process.Process
	stdin  io.WriteCloser
	stdout *bufio.Reader
}

func startFloor(viewers int) (*floorProcess, error) {
	lab, err := os.Executable()
	if err != nil {
		return nil, err
	}
	command := exec.Command(lab, "floor", "--viewers", strconv.Itoa(viewers)) //nolint:gosec // this program
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p, err := process.Start("", command)
	if err != nil {
		return nil, err
	}
	floor := &floorProcess{p, stdin, bufio.NewReader(stdout)}
	line, err := floor.stdout.ReadString('\n')
	if err != nil {
		floor.Kill()
		return nil, fmt.Errorf("the floor did not print its address: %w", err)
	}
	floor.Address = strings.TrimSpace(line)
	return floor, nil
}

// poll returns when done is true, or with an error after the limit.
func poll(ctx context.Context, limit time.Duration, done func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !done() {
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
