package fleet_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/client/fleet"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestABadSettingStopsTheClientWithOneLine(t *testing.T) {
	for want, change := range map[string]func(*fleet.Config){
		"VIEWERS=0 is out of bounds: it must be at least 1":                                          func(cfg *fleet.Config) { cfg.Viewers = 0 },
		"VIEWERS=3, VIDEOS=4: 4 videos need at least as many viewers, not 3":                         func(cfg *fleet.Config) { cfg.Videos = 4 },
		"VIDEO_PREFIX must be 1 to 128 characters of A-Z a-z 0-9 . _ : -":                            func(cfg *fleet.Config) { cfg.VideoPrefix = "a/b" },
		"POPULARITY=normal is out of bounds: it must be one of uniform three-tier zipf celebrity":    func(cfg *fleet.Config) { cfg.Popularity = "normal" },
		"COMMENTS_PER_MINUTE=-1 is out of bounds: it must be at least 0":                             func(cfg *fleet.Config) { cfg.CommentsPerMinute = -1 },
		"INSTANCE_ID with the number of a viewer must be 1 to 128 characters of A-Z a-z 0-9 . _ : -": func(cfg *fleet.Config) { cfg.Server.InstanceID = strings.Repeat("c", 126) },
		"REPORT_URL=localhost:5001 is out of bounds: it must be an http:// or https:// URL":          func(cfg *fleet.Config) { cfg.Reports.URL = "localhost:5001" },
		"COMMENT_API_URL=x is out of bounds: it must be an http:// or https:// URL":                  func(cfg *fleet.Config) { cfg.CommentAPIURL = "x" },
		"READER_API_URLS=[] is out of bounds: it must be at least 1":                                 func(cfg *fleet.Config) { cfg.ReaderAPIURLs = []string{} },
		"READER_API_URLS[1]=x is out of bounds: it must be an http:// or https:// URL":               func(cfg *fleet.Config) { cfg.ReaderAPIURLs = []string{"http://a", "x"} },
	} {
		require.EqualError(t, fleet.Run(t.Context(), servertest.Defaults(t, change)), want)
	}
}
