package browser_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// console is what a script has logged.
type console struct {
	of string

	mu    sync.Mutex
	lines []string
}

func (c *console) write(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines = append(c.lines, line)
}

func (c *console) logged() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.lines)
}

// await returns when the script has logged a line.
func (c *console) await(t *testing.T, line string) {
	t.Helper()
	require.Eventually(t, func() bool { return slices.Contains(c.logged(), line) }, time.Minute, 10*time.Millisecond,
		"%s has not logged %q", c.of, line)
}
