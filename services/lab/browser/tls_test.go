package browser_test

import (
	"crypto/tls"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/secure/authority"
)

func TestAPageOverHTTPSMissesNothingWhileTheCertificateOfItsReadersIsReplaced(t *testing.T) {
	issuer, err := authority.New()
	require.NoError(t, err)
	secret, err := authority.NewMount(issuer, t.TempDir())
	require.NoError(t, err)
	ofSite, err := tls.LoadX509KeyPair(secret.CertFile, secret.KeyFile)
	require.NoError(t, err)
	// It takes certificates of this authority, and of no other: its own store cannot be filled without another program.
	chromium := startChromium(t, chromedp.Flag("ignore-certificate-errors-spki-list", issuer.Fingerprint()))
	redis := brokertest.Real(t)
	s := newSecureSite(t, ofSite)
	fleet := newFleet(t, redis, "bounded", "CORS_ORIGINS="+s.URL, "TLS_CERT_FILE="+secret.CertFile, "TLS_KEY_FILE="+secret.KeyFile)
	home, next, door := fleet[0], fleet[1], fleet[2]
	home.start()
	door.start()
	page := open(t, chromium, "an EventSource", s.page(script(t, "plain.js", door.URL, withoutCredentials)))
	home.awaitViewers(1)
	posted := startPoster(t, redis)
	posted.awaitFlow(t, page)

	expires := time.Now().Add(100 * time.Hour).Truncate(time.Second)
	require.NoError(t, secret.Issue(expires))
	for _, r := range []*reader{home, door} {
		r.await("livecomments_reader_certificate_expires_timestamp_seconds", strconv.FormatFloat(float64(expires.Unix()), 'g', -1, 64))
	}
	posted.awaitFlow(t, page)
	next.start() // which has never shown another
	assert.Equal(t, "exit status 0", home.end(syscall.SIGTERM))
	next.awaitViewers(1)
	posted.awaitFlow(t, page)

	posted.stop()
	n := posted.posted.Load()
	page.await(t, line(n))
	assert.Equal(t, upTo(n), comments(page))
	assert.Equal(t, []string{"connected " + home.name, "reconnect drain", "connected " + next.name}, slices.DeleteFunc(page.logged(), isComment))
}
