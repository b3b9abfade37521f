package million

import (
	"os"

	"github.com/prometheus/procfs"
)

// sample is the memory of the machine, in bytes.
type sample struct {
	available int
	kernel    int // the kernel's objects, among them those of sockets
	buffers   int // what sockets hold of data
}

func sampleMemory() (s sample, err error) {
	fs, err := procfs.NewDefaultFS()
	if err != nil {
		return s, err
	}
	memory, err := fs.Meminfo()
	if err != nil {
		return s, err
	}
	value := func(bytes *uint64) int {
		if bytes == nil {
			return 0
		}
		return int(*bytes) //nolint:gosec // no machine has so much
	}
	s.available = value(memory.MemAvailableBytes)
	s.kernel = value(memory.SlabBytes) + value(memory.KernelStackBytes) + value(memory.PageTablesBytes) + value(memory.PercpuBytes)
	sockets, err := fs.NetSockstat()
	if err != nil {
		return s, err
	}
	for _, protocol := range sockets.Protocols {
		if protocol.Protocol == "TCP" && protocol.Mem != nil {
			s.buffers = *protocol.Mem * os.Getpagesize()
		}
	}
	return s, nil
}

func gigabytes(bytes int) float64 { return float64(bytes) / (1 << 30) }
