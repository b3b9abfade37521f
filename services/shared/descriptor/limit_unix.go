//go:build linux || darwin

package descriptor

import (
	"math"
	"syscall"
)

// softLimit is the limit that counts. Go has raised it to the hard limit when the process began.
func softLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64
	}
	return limit.Cur
}
