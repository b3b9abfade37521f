//go:build !linux

package process

import (
	"errors"
	"time"
)

// CPU is the processor time that a process of this machine has used.
func CPU(int) (time.Duration, error) { return 0, errors.New("processor time is measured on Linux") }
