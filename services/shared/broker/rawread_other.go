//go:build !linux

package broker

import "net"

func rawReads(connection net.Conn) net.Conn { return connection }
