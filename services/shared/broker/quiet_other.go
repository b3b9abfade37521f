//go:build !linux

package broker

import "net"

func hush(connection net.Conn) net.Conn { return connection }
