package browser_test

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
)

func TestABrowserMissesNothingWhileItsVideoGoesFromReaderToReader(t *testing.T) {
	chromium := startChromium(t)
	for _, routing := range []string{"hash", "bounded"} {
		t.Run(routing, func(t *testing.T) {
			t.Parallel()
			redis := brokertest.Real(t)
			s := newSite(t)
			fleet := newFleet(t, redis, routing, "CORS_ORIGINS=https://app.example.org,"+s.URL)
			newcomer, home, last, door := fleet[0], fleet[1], fleet[2], fleet[3]
			for _, r := range []*reader{home, last, door} {
				r.start()
			}
			plain := open(t, chromium, "an EventSource", s.page(script(t, "plain.js", door.URL, "const withCredentials = false;")))
			robust := []*tab{
				open(t, chromium, "the script of docs/api.md", s.page(documented(t, "docs/api.md", door.URL))),
				open(t, chromium, "the script of the README", s.page(documented(t, "README.md", door.URL))),
				open(t, chromium, "fetch by GET", s.page(script(t, "fetch.js", door.URL, `const method = "GET";`))),
				open(t, chromium, "fetch by POST", s.page(script(t, "fetch.js", door.URL, `const method = "POST";`))),
			}
			all := append(robust, plain)
			home.awaitViewers(len(all))
			posted := startPoster(t, redis)
			posted.awaitFlow(t, all...)

			newcomer.start() // and the video belongs to it
			newcomer.awaitViewers(len(all))
			posted.awaitFlow(t, all...)

			newcomer.end(syscall.SIGKILL)
			newcomer.start()
			posted.awaitFlow(t, all...)

			assert.Equal(t, "exit status 0", newcomer.end(syscall.SIGTERM))
			posted.awaitFlow(t, all...)

			home.end(syscall.SIGKILL) // for good
			posted.awaitFlow(t, robust...)
			last.awaitViewers(len(robust))

			posted.stop()
			n := posted.posted.Load()
			for _, page := range robust {
				page.await(t, line(n))
				assert.Equal(t, upTo(n), comments(page), page.of)
			}
			got := comments(plain)
			assert.Equal(t, upTo(int64(len(got))), got, plain.of)
			assert.Less(t, len(got), int(n), "a new EventSource is not needed when a reader is gone for good")
			assert.Equal(t, []string{
				"connected " + home.name,
				"reconnect moved", "connected " + newcomer.name,
				"connected " + newcomer.name,
				"reconnect drain", "connected " + home.name,
			}, slices.DeleteFunc(plain.logged(), isComment))
			// It comes back to the reader that it was sent to, and says then what page it is of.
			assert.Equal(t, []string{
				door.name + " " + s.URL, home.name + " null",
				home.name + " " + s.URL, newcomer.name + " null",
				newcomer.name + " " + s.URL, home.name + " null",
			}, slices.Compact(plain.asked(fleet, "Origin")))
		})
	}
}

func isComment(line string) bool { return strings.HasPrefix(line, "you ") }

// comments are the comments that a page has logged.
func comments(page *tab) []string {
	return slices.DeleteFunc(page.logged(), func(line string) bool { return !isComment(line) })
}

// upTo is what a page logs that misses none of n comments, in order and each once.
func upTo(n int64) []string {
	var lines []string
	for number := range n {
		lines = append(lines, line(number+1))
	}
	return lines
}
