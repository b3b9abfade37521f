package process_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/livecomments/livecomments/services/lab/process"
	"github.com/livecomments/livecomments/services/shared/port"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shell(t *testing.T, script string) *process.Process {
	t.Helper()
	p, err := process.Start("", exec.Command("sh", "-c", script))
	require.NoError(t, err)
	t.Cleanup(p.Kill)
	return p
}

func TestProcessorTimeIsThatOfTheProcess(t *testing.T) {
	busy, idle := shell(t, "while :; do :; done"), shell(t, "exec sleep 1000")
	require.Eventually(t, func() bool {
		used, err := busy.CPU()
		return assert.NoError(t, err) && used > 200*time.Millisecond
	}, 30*time.Second, time.Millisecond)
	used, err := idle.CPU()
	require.NoError(t, err)
	assert.Less(t, used, 100*time.Millisecond)
	resident, err := idle.Resident()
	require.NoError(t, err)
	assert.Positive(t, resident)

	busy.Kill()
	_, err = busy.CPU()
	assert.Error(t, err, "it is gone")
}

func TestAProcessIsToldToStop(t *testing.T) {
	p := shell(t, `trap "exit 3" TERM; while :; do sleep 0.01; done`)
	require.NoError(t, awaitBusy(p), "the trap is set by then")
	require.EqualError(t, p.Stop(t.Context()), "exit status 3")

	deaf := shell(t, `trap "" TERM; while :; do sleep 0.01; done`)
	require.NoError(t, awaitBusy(deaf))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, deaf.Stop(ctx), context.DeadlineExceeded)
	<-deaf.Ended()
}

// awaitBusy returns when a shell has begun with its loop, which costs more than the start.
func awaitBusy(p *process.Process) error {
	first, err := p.CPU()
	for used := first; err == nil && used < first+10*time.Millisecond; used, err = p.CPU() {
		time.Sleep(time.Millisecond)
	}
	return err
}

func TestAServiceThatEndsBeforeItIsReadySaysSo(t *testing.T) {
	reserved, err := port.Reserve()
	require.NoError(t, err)
	defer reserved.Release()
	_, err = process.Serve(t.Context(), reserved, "false")
	require.EqualError(t, err, "false is not ready: it has ended: exit status 1")
}

func TestMetricsAreNamedWithTheirLabels(t *testing.T) {
	defer http.DefaultClient.CloseIdleConnections()
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "/metrics", r.URL.Path)
		_, _ = w.Write([]byte("# TYPE open gauge\nopen 2\n# TYPE ended_total counter\nended_total{reason=\"slow\"} 3\nended_total{reason=\"left\"} 4\n"))
	}))
	defer service.Close()
	p := process.Process{Address: service.Listener.Addr().String()}
	figures, err := p.Metrics(t.Context())
	require.NoError(t, err)
	assert.Equal(t, map[string]float64{"open": 2, "ended_total slow": 3, "ended_total left": 4}, figures)
}
