// Package process runs programs beside this one, and measures them from outside: processor time, memory and metrics.
package process

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/procfs"

	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/port"
)

// Process is a program that runs.
type Process struct {
	// Address is the host:port at which it answers HTTP, empty for one that does not.
	Address string

	trust   *tls.Config // of one that answers https; nil for http
	command *exec.Cmd
	ended   chan struct{}
	status  error // of Wait, once ended is closed
}

// Start starts a command. What it writes to standard error goes to ours.
func Start(address string, command *exec.Cmd) (*Process, error) {
	command.Stderr = os.Stderr
	if err := command.Start(); err != nil {
		return nil, err
	}
	p := &Process{Address: address, command: command, ended: make(chan struct{})}
	go func() {
		p.status = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// readyLimit is how long a service may take until it is ready.
const readyLimit = 10 * time.Second

// Serve starts a service with settings besides our own environment, and returns when it is ready. It gets the reserved port,
// and holds it by itself once it is ready.
func Serve(ctx context.Context, at *port.Reservation, binary string, settings ...string) (*Process, error) {
	return serve(ctx, nil, at, binary, settings...)
}

// ServeTLS is Serve for a service that the settings have speak https, and that is trusted so.
func ServeTLS(ctx context.Context, trust *tls.Config, at *port.Reservation, binary string, settings ...string) (*Process, error) {
	return serve(ctx, trust, at, binary, settings...)
}

func serve(ctx context.Context, trust *tls.Config, at *port.Reservation, binary string, settings ...string) (*Process, error) {
	command := exec.Command(binary)
	command.Env = append(os.Environ(), append([]string{fmt.Sprint("PORT=", at.Number)}, settings...)...)
	p, err := Start(at.Address(), command)
	if err != nil {
		return nil, err
	}
	p.trust = trust
	if err := p.awaitReady(ctx); err != nil {
		p.Kill()
		return nil, fmt.Errorf("%s is not ready: %w", filepath.Base(binary), err)
	}
	return p, nil
}

func (p *Process) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyLimit)
	defer cancel()
	for !p.answers(ctx, "/readyz") {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.ended:
			return fmt.Errorf("it has ended: %s", p.command.ProcessState)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return nil
}

// Kill ends the process at once, with SIGKILL.
func (p *Process) Kill() {
	_ = p.command.Process.Kill()
	<-p.ended
}

// Stop tells the process to stop, with SIGTERM, and returns when it has. The error says that it failed. When ctx ends it is
// killed.
func (p *Process) Stop(ctx context.Context) error {
	p.Tell()
	select {
	case <-p.ended:
		return p.status
	case <-ctx.Done():
		p.Kill()
		return ctx.Err()
	}
}

// Tell tells the process to stop, with SIGTERM, and does not wait until it has.
func (p *Process) Tell() { _ = p.command.Process.Signal(syscall.SIGTERM) }

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// CPU is the processor time that the process has used.
func (p *Process) CPU() (time.Duration, error) { return CPU(p.command.Process.Pid) }

// Resident is its resident memory, in bytes.
func (p *Process) Resident() (int, error) {
	proc, err := procfs.NewProc(p.command.Process.Pid)
	if err != nil {
		return 0, err
	}
	stat, err := proc.Stat()
	return stat.ResidentMemory(), err
}

// Metrics is the process' gauges and counters by name, and where they have labels by name and the labels' values, as in
// "streams_ended_total slow".
func (p *Process) Metrics(ctx context.Context) (map[string]float64, error) {
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

func (p *Process) get(ctx context.Context, path string) (*http.Response, error) {
	scheme, client := "http://", http.DefaultClient
	if p.trust != nil {
		scheme, client = "https://", &http.Client{Transport: &http.Transport{TLSClientConfig: p.trust, DisableKeepAlives: true}}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+p.Address+path, nil)
	if err != nil {
		return nil, err
	}
	return client.Do(request)
}

func (p *Process) answers(ctx context.Context, path string) bool {
	response, err := p.get(ctx, path)
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

// Beside finds the binary of a service in the folder of this program, where the Makefile builds all of them.
func Beside(service string) (string, error) {
	program, err := os.Executable()
	if err != nil {
		return "", err
	}
	return filepath.Join(filepath.Dir(program), service), nil
}

// Find checks that a binary can be run. Its error names the flag that chooses another.
func Find(flag, binary string) error {
	if _, err := exec.LookPath(binary); err != nil {
		return config.Errorf("%s: %s", flag, strings.TrimSpace(err.Error()))
	}
	return nil
}
