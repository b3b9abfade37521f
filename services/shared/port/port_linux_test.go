package port_test

import (
	"fmt"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/port"
)

func TestAServerGetsAReservedPortHoweverOftenItIsStarted(t *testing.T) {
	reservation, err := port.Reserve()
	require.NoError(t, err)
	defer reservation.Release()
	for _, address := range []string{reservation.Address(), fmt.Sprint(":", reservation.Number)} {
		for range 2 {
			server, err := net.Listen("tcp", address)
			require.NoError(t, err)
			_, err = net.Listen("tcp", reservation.Address())
			require.Error(t, err, "one server at a time")
			require.NoError(t, server.Close())
			_, err = net.Dial("tcp", reservation.Address())
			require.Error(t, err, "while no server listens, connections are refused")
		}
	}
}

func TestWhoeverAsksForAnyPortIsNotGivenAReservedOne(t *testing.T) {
	reserved := map[int]bool{}
	for range 200 {
		reservation, err := port.Reserve()
		require.NoError(t, err)
		defer reservation.Release()
		assert.False(t, reserved[reservation.Number], "a port is reserved once")
		reserved[reservation.Number] = true
	}
	for range 3000 {
		for _, address := range []string{"127.0.0.1:0", ":0"} {
			server, err := net.Listen("tcp", address)
			require.NoError(t, err)
			assert.False(t, reserved[server.Addr().(*net.TCPAddr).Port])
			require.NoError(t, server.Close())
		}
	}
}
