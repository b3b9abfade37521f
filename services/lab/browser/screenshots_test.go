package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/up"
)

// screenshots names the folder that takes the pictures. None are taken where it is not set.
const screenshots = "LIVECOMMENTS_SCREENSHOTS"

func TestScreenshots(t *testing.T) {
	folder := os.Getenv(screenshots)
	if folder == "" {
		t.Skip("this takes pictures for the documentation: `make screenshots`")
	}
	require.NoError(t, os.MkdirAll(folder, 0o750))
	chromium := startChromium(t)
	at := startLab(t, func(c *up.Command) {
		c.Readers, c.Viewers, c.Videos, c.Popularity, c.CommentsPerMinute = 6, 400, 40, "zipf", 6
	})
	began := time.Now()
	for _, page := range []struct{ name, path string }{{"watch", "/watch?videoid=video3"}, {"fleet", "/"}} {
		if page.name == "fleet" {
			time.Sleep(time.Until(began.Add(3 * time.Minute))) // for charts that show something
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, window := range []struct {
				name          string
				width, height int64
			}{{"desktop", 1280, 960}, {"phone", 390, 844}} {
				tab := open(t, chromium, page.name, at.Statistics+page.path)
				emulate(t, tab, scheme, window.width, window.height)
				tab.awaitText(t, "#state", "Live")
				time.Sleep(4 * time.Second) // for figures of this page's own
				picture, err := chromedp.Run(tab.ctx, chromedp.CaptureScreenshot())
				require.NoError(t, err)
				require.Less(t, len(picture), 250_000, "bytes")
				name := fmt.Sprintf("%s-%s-%s.png", page.name, scheme, window.name)
				require.NoError(t, os.WriteFile(filepath.Join(folder, name), picture, 0o600))
			}
		}
	}
}
