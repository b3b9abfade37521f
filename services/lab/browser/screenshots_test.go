package browser_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/lab/up"
	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
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
	redis := brokertest.Real(t) // an embedded one says little about itself
	at := startLab(t, func(c *up.Command) {
		c.RedisURL = redis.URL()
		c.Readers, c.Viewers, c.Videos, c.Popularity, c.CommentsPerMinute = 6, 400, 40, "zipf", 6
	})
	began := time.Now()
	poster := open(t, chromium, "the page that posts", at.Statistics+"/watch?videoid=video3")
	poster.awaitText(t, "#state", "Live")
	poster.do(t, chromedp.SendKeys(chromedp.CSS("#user"), "ann"+kb.Tab))
	for _, page := range []struct {
		name, path    string
		desktopHeight int64
	}{{"watch", "/watch?videoid=video3", 800}, {"fleet", "/", 1340}} {
		if page.name == "fleet" {
			time.Sleep(time.Until(began.Add(3 * time.Minute))) // for charts that show something
		}
		for _, scheme := range []string{"light", "dark"} {
			for _, window := range []struct {
				name          string
				width, height int64
			}{{"desktop", 1280, page.desktopHeight}, {"phone", 390, 844}} {
				tab := open(t, chromium, page.name, at.Statistics+page.path)
				emulate(t, tab, scheme, window.width, window.height)
				tab.awaitText(t, "#state", "Live")
				if page.name == "watch" {
					poster.post(t, "That was the match of the year 🎉")
				}
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
