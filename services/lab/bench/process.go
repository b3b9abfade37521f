package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/broker"
)

// process is one that is measured, or needed.
type process struct {
	command *exec.Cmd
	address string
	stdin   io.WriteCloser
	stdout  *bufio.Reader
}

func freeAddress() (string, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func launch(address string, environment []string, binary string, args ...string) (*process, error) {
	command := exec.Command(binary, args...) //nolint:gosec // the reader, redis-server, or ourselves
	command.Env = append(os.Environ(), environment...)
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &process{command, address, stdin, bufio.NewReader(stdout)}, command.Start()
}

// kill ends the process at once.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// cpu is the processor time that the process has taken.
func (p *process) cpu() (time.Duration, error) {
	stat, err := p.stat()
	return time.Duration(stat.CPUTime() * float64(time.Second)), err
}

// resident is the memory that it occupies, in bytes.
func (p *process) resident() (int, error) {
	stat, err := p.stat()
	return stat.ResidentMemory(), err
}

func (p *process) stat() (procfs.ProcStat, error) {
	proc, err := procfs.NewProc(p.command.Process.Pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return proc.Stat()
}

// startRedis starts a Redis that writes everything to disk before it answers, in a folder of its own.
func (b *bench) startRedis(ctx context.Context, address, dir string) (*process, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p, err := launch(address, nil, b.redisServer, "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--save", "", "--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning")
	if err != nil {
		return nil, err
	}
	client, err := openBroker(address)
	if err != nil {
		p.kill()
		return nil, err
	}
	defer func() { _ = client.Close() }()
	limited, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := client.Await(limited, broker.Publishing, nil); err != nil {
		p.kill()
		return nil, fmt.Errorf("redis-server does not answer: %w", err)
	}
	return p, nil
}

func openBroker(address string) (*broker.Broker, error) {
	return broker.Open(broker.Config{RedisURL: "redis://" + address, HistoryLength: 1000, HistoryTTL: time.Hour}, zap.NewNop())
}

// maxConnections is how many viewers a reader takes where a scene says nothing else.
const maxConnections = 20_000

// startReader starts a reader with the settings of production, but for those given.
func (b *bench) startReader(ctx context.Context, redisAddress string, settings ...string) (*process, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	p, err := launch(address, append([]string{
		"PORT=" + port, "REDIS_URL=redis://" + redisAddress, "STATISTICS_API_URL=", "LOG_LEVEL=error", fmt.Sprint("MAX_CONNECTIONS=", maxConnections),
	}, settings...), b.Reader)
	if err != nil {
		return nil, err
	}
	if err := await(ctx, 10*time.Second, func() bool { return p.answers(ctx, "/readyz") }); err != nil {
		p.kill()
		return nil, fmt.Errorf("the reader is not ready: %w", err)
	}
	return p, nil
}

func (p *process) get(ctx context.Context, path string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path, nil)
	if err != nil {
		return nil, err
	}
	return http.DefaultClient.Do(request)
}

// metrics is the process' figures that are single numbers, by name; where they have labels, by name and the labels' values.
func (p *process) metrics(ctx context.Context) (map[string]float64, error) {
	response, err := p.get(ctx, "/metrics")
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(response.Body)
	if err != nil {
		return nil, err
	}
	figures := map[string]float64{}
	for name, family := range families {
		for _, m := range family.GetMetric() {
			key := name
			for _, label := range m.GetLabel() {
				key += " " + label.GetValue()
			}
			figures[key] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return figures, nil
}

func (p *process) answers(ctx context.Context, path string) bool {
	response, err := p.get(ctx, path)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// startFloor starts the floor, which is this program again.
func startFloor(viewers int) (*process, error) {
	lab, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p, err := launch("", nil, lab, "floor", "--viewers", strconv.Itoa(viewers))
	if err != nil {
		return nil, err
	}
	line, err := p.stdout.ReadString('\n')
	if err != nil {
		p.kill()
		return nil, fmt.Errorf("the floor does not say where it listens: %w", err)
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// await asks until it is so, or for the limit.
func await(ctx context.Context, limit time.Duration, so func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for !so() {
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}
