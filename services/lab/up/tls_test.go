package up_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/client/fleet"
	commentapi "github.com/livecomments/livecomments/services/comment/api"
	readerapi "github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/secure"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestSimulatedViewersWatchReadersOverTLSWhoseAuthorityTheyAreTold(t *testing.T) {
	issuer, err := authority.New()
	require.NoError(t, err)
	folder := t.TempDir()
	files := secure.Config{CertFile: filepath.Join(folder, "tls.crt"), KeyFile: filepath.Join(folder, "tls.key")}
	require.NoError(t, issuer.IssueFiles(files.CertFile, files.KeyFile))
	caFile := filepath.Join(folder, "ca.crt")
	require.NoError(t, os.WriteFile(caFile, issuer.PEM(), 0o600))

	redis := brokertest.Embedded(t)
	commentConfig := servertest.Defaults(t, func(cfg *commentapi.Config) {
		cfg.Redis.RedisURL, cfg.Reports.StatisticsAPIURL = redis.URL(), ""
	})
	comment := servertest.Start(t, &commentConfig.Server, "comment", func(ctx context.Context) error {
		return commentapi.Run(ctx, commentConfig)
	}).AwaitReady(t)
	var readers []string
	for _, name := range []string{"reader-1", "reader-2"} {
		cfg := servertest.Defaults(t, func(cfg *readerapi.Config) {
			cfg.Redis.RedisURL, cfg.Reports.StatisticsAPIURL = redis.URL(), ""
			cfg.TLS, cfg.Router.Routing, cfg.DrainPeriod = files, "hash", 50*time.Millisecond
		})
		reader := servertest.Start(t, &cfg.Server, name, func(ctx context.Context) error { return readerapi.Run(ctx, cfg) })
		reader.URL = "https://" + cfg.Server.Listener.Addr().String()
		readers = append(readers, reader.AwaitReady(t).URL)
	}

	const viewers = 20
	told := servertest.Defaults(t, func(cfg *fleet.Config) {
		cfg.CommentAPIURL, cfg.ReaderAPIURLs, cfg.ReaderCAFile, cfg.Reports.StatisticsAPIURL = comment.URL, readers, caFile, ""
		cfg.Viewers, cfg.Videos, cfg.CommentsPerMinute = viewers, 4, 120
		cfg.Duration = time.Hour // it judges what its viewers have got when it ends, which is when the test ends it
	})
	client := servertest.Start(t, &told.Server, "client", func(ctx context.Context) error { return fleet.Run(ctx, told) })
	require.Eventually(t, func() bool {
		return figure(t, client, "livecomments_client_connected") == viewers && figure(t, client, "livecomments_client_posted_total") > 100
	}, 60*time.Second, 20*time.Millisecond)
	require.NoError(t, client.Stop(), "each gets every comment once and in order")

	untold := told
	untold.Server.Listener, err = net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	untold.ReaderCAFile, untold.Duration = "", time.Second
	require.ErrorContains(t, fleet.Run(t.Context(), untold), "20 of 20 viewers never got a stream")
}
