package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
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
	"github.com/livecomments/livecomments/services/shared/port"
)

// process is a reader or the floor.
type process struct {
	command *exec.Cmd
	address string
	stdin   io.WriteCloser
	stdout  *bufio.Reader
}

// launch starts a process with environment besides our own.
func launch(address string, environment []string, binary string, args ...string) (*process, error) {
	command := exec.Command(binary, args...) //nolint:gosec // the reader, or this program
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

// kill ends the process at once, with SIGKILL.
func (p *process) kill() {
	_ = p.command.Process.Kill()
	_ = p.command.Wait()
}

// cpu is the processor time that the process has used.
func (p *process) cpu() (time.Duration, error) {
	stat, err := p.stat()
	return time.Duration(stat.CPUTime() * float64(time.Second)), err
}

// resident is its resident memory, in bytes.
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

func openBroker(address string) (*broker.Broker, error) {
	return broker.Open(broker.Config{RedisURL: "redis://" + address, HistoryLength: 1000, HistoryTTL: time.Hour}, zap.NewNop())
}

// maxConnections is a reader's MAX_CONNECTIONS where a scene does not set it.
const maxConnections = 20_000

// startReader starts a reader with the default settings, but for those given, and returns when it is ready.
func (b *bench) startReader(ctx context.Context, redisAddress string, settings ...string) (*process, error) {
	reserved, err := port.Reserve()
	if err != nil {
		return nil, err
	}
	// Once the reader listens, it holds the port itself.
	defer reserved.Release()
	p, err := launch(reserved.Address(), append([]string{
		fmt.Sprint("PORT=", reserved.Number), "REDIS_URL=redis://" + redisAddress, "STATISTICS_API_URL=", "LOG_LEVEL=error",
		fmt.Sprint("MAX_CONNECTIONS=", maxConnections),
	}, settings...), b.Reader)
	if err != nil {
		return nil, err
	}
	if err := poll(ctx, 10*time.Second, func() bool { return p.answers(ctx, "/readyz") }); err != nil {
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

// metrics is the process' gauges and counters by name, and where they have labels by name and the labels' values.
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

// startFloor starts this program again, as the floor.
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
		return nil, fmt.Errorf("the floor did not print its address: %w", err)
	}
	p.address = strings.TrimSpace(line)
	return p, nil
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
