package million

import (
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/livecomments/livecomments/services/shared/config"
)

const (
	// bytesPerViewer is what a viewer takes, both ends and the kernel together, with something to spare.
	bytesPerViewer = 13 << 10
	// bytesPerProcess is what a reader or a crowd takes without viewers.
	bytesPerProcess = 20 << 20
)

// fits checks that the machine has room for the viewers.
func (c *Command) fits() error {
	needed := c.viewers*bytesPerViewer + (c.Readers+c.crowds)*bytesPerProcess
	now, err := sampleMemory()
	if err != nil {
		return err
	}
	if now.available < needed {
		return config.Errorf("--scale=%g needs about %.1f GB of memory, and %.1f GB are available",
			c.Scale, gigabytes(needed), gigabytes(now.available))
	}
	most, tracked, err := trackedConnections()
	if err != nil {
		return err
	}
	// Those that have ended are tracked for minutes more.
	if needed := 3 * c.viewers; tracked && most < needed {
		return config.Errorf("--scale=%g needs about %s connections, and the firewall of this network namespace tracks %s at the most "+
			`(nf_conntrack_max). Run it in a namespace of its own: unshare --net sh -c 'ip link set lo up && exec "$@"' - and the command`,
			c.Scale, thousands(needed), thousands(most))
	}
	return nil
}

// trackedConnections returns how many connections the kernel can track, and whether it does so on the loopback device.
func trackedConnections() (most int, tracked bool, err error) {
	const folder = "/proc/sys/net/netfilter/nf_conntrack_"
	most, err = readNumber(folder + "max")
	if os.IsNotExist(err) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	// While there is a connection, the kernel tracks it or does not.
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = listener.Close() }()
	connection, err := net.Dial("tcp4", listener.Addr().String())
	if err != nil {
		return 0, false, err
	}
	defer func() { _ = connection.Close() }()
	count, err := readNumber(folder + "count")
	return most, count > 0, err
}

func readNumber(path string) (int, error) {
	text, err := os.ReadFile(path) //nolint:gosec // of this package
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
