package process

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// schedulerClock is the CPUCLOCK_SCHED of the kernel: all that the scheduler gave to a process.
const schedulerClock = 2

// CPU is the processor time that a process of this machine has used, all its threads together. It is that of
// clock_getcpuclockid(3), which counts nanoseconds where /proc counts hundredths of a second.
func CPU(pid int) (time.Duration, error) {
	var used unix.Timespec
	if err := unix.ClockGettime(int32(^pid)<<3|schedulerClock, &used); err != nil { //nolint:gosec // pids are below 2^22
		return 0, os.NewSyscallError("clock_gettime", err)
	}
	return time.Duration(used.Nano()), nil
}
