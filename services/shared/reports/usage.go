package reports

import (
	"bytes"
	"math/rand/v2"
	"os"
	"strconv"
)

var osProcess = 1 + rand.Uint64N(1<<53-1)

// OwnUsage is that of this process.
func OwnUsage() Usage {
	return Usage{OSProcess: osProcess, CPUSeconds: cpuTime().Seconds(), MemoryBytes: resident()}
}

// resident is 0 where there is no /proc.
func resident() uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := bytes.Fields(statm)
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(string(fields[1]), 10, 64)
	return pages * uint64(os.Getpagesize()) //nolint:gosec // no page has less than 0 bytes
}
