package server_test

import (
	"context"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/zap"

	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

// startSecured runs a server that speaks TLS.
func startSecured(t *testing.T) *servertest.Service {
	t.Helper()
	issuer, err := authority.New()
	require.NoError(t, err)
	folder := t.TempDir()
	files := secure.Config{CertFile: filepath.Join(folder, "tls.crt"), KeyFile: filepath.Join(folder, "tls.key")}
	require.NoError(t, issuer.IssueFiles(files.CertFile, files.KeyFile))
	certificate, err := secure.Load(files, zap.NewNop())
	require.NoError(t, err)
	cfg := servertest.Defaults(t, func(*settings) {})
	s := servertest.Start(t, &cfg.Server, "test", func(ctx context.Context) error {
		srv, err := server.New("test", cfg.Port, cfg.Server)
		if err != nil {
			return err
		}
		srv.Secure(certificate)
		srv.Ready()
		return srv.Run(ctx)
	})
	s.URL = "https://" + cfg.Server.Listener.Addr().String()
	return s.AwaitReady(t)
}

func TestAClientThatDoesNotFinishItsHandshakeIsCut(t *testing.T) {
	defer server.SetHeaderTimeout(50 * time.Millisecond)()
	s := startSecured(t)
	for name, sent := range map[string]string{
		"without a word":       "",
		"in its first message": "\x16\x03\x01\x00\xff\x01",
	} {
		connection := dial(t, s, sent)
		require.NoError(t, connection.SetReadDeadline(time.Now().Add(10*time.Second)), name)
		_, err := io.Copy(io.Discard, connection)
		require.NoError(t, err, name)
	}
	require.NoError(t, s.Stop(), "before the timeout is changed back")
}
