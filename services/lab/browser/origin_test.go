package browser_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/broker/brokertest"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

const (
	withoutCredentials = "const withCredentials = false;"
	withCredentials    = "const withCredentials = true;"
)

// connects is a script that connects at an address, mark and all.
func connects(t *testing.T, address, settings string) string {
	t.Helper()
	reader, query, found := strings.Cut(address, "/connect?")
	require.True(t, found, address)
	return strings.Replace(script(t, "plain.js", reader, settings), "/connect?userid=me&videoid=demo", "/connect?"+query, 1)
}

// forge changes the signature of the mark in an address.
func forge(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	query := u.Query()
	mark := []byte(query.Get("placed"))
	last := len(mark) - 2 // of which all bits count
	mark[last] = map[bool]byte{true: 'A', false: 'B'}[mark[last] != 'A']
	query.Set("placed", string(mark))
	u.RawQuery = query.Encode()
	return u.String()
}

// passOn has every page's request sent on to an address. It comes there without the page's origin.
func passOn(t *testing.T, address string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", r.Header.Get("Origin"))
		w.Header().Set("Access-Control-Allow-Credentials", "true")
		http.Redirect(w, r, address, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(server.Close)
	return server.URL + "/connect?userid=me&videoid=demo"
}

// connectAt is the address of a reader.
func connectAt(r *reader) string { return r.URL + "/connect?userid=me&videoid=demo" }

func TestAPageOfAnotherOriginGetsNothing(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	own, strange := newSite(t), newSite(t)
	fleet := newFleet(t, redis, "bounded", "CORS_ORIGINS=https://app.example.org,"+own.URL)
	home, door := fleet[0], fleet[1]
	home.start()
	door.start()
	posted := startPoster(t, redis)

	// Marks are good for some seconds, so each is made when it is used.
	atDoor := func() string { return connectAt(door) }
	atHome := func() string { return connectAt(home) }
	copied := func() string { return door.redirect("Origin", own.URL) }
	forged := func() string { return forge(t, copied()) }
	used := func() string {
		address := copied()
		servertest.Watch(t, http.MethodGet, address, "").Close()
		return address
	}
	passedOn := func(to func() string) func() string { return func() string { return passOn(t, to()) } }
	for name, test := range map[string]struct {
		page    func(script string) string
		address func() string
	}{
		"at the door":                            {strange.page, atDoor},
		"at the video's reader":                  {strange.page, atHome},
		"with a forged mark":                     {strange.page, forged},
		"with a copied mark":                     {strange.page, copied},
		"passed on to the door":                  {strange.page, passedOn(atDoor)},
		"passed on with a forged mark":           {strange.page, passedOn(forged)},
		"passed on with a mark that was used":    {strange.page, passedOn(used)},
		"in a sandbox":                           {own.sandbox, atDoor},
		"in a sandbox with a forged mark":        {own.sandbox, forged},
		"in a sandbox with a mark that was used": {own.sandbox, used},
	} {
		stranger := open(t, chromium, name, test.page(connects(t, test.address(), withoutCredentials)))
		stranger.await(t, "closed")
		assert.Equal(t, []string{"closed"}, stranger.logged(), name)
	}
	page := open(t, chromium, "a page that is let in", own.page(connects(t, connectAt(door), withoutCredentials)))
	page.await(t, "connected "+home.name)
	posted.awaitFlow(t, page)
	home.awaitViewers(1)
	door.awaitViewers(0)
}

func TestCookiesGoWithAPageToItsReaderAndServeNoOther(t *testing.T) {
	chromium := startChromium(t)
	redis := brokertest.Real(t)
	own, strange := newSite(t), newSite(t) // all are 127.0.0.1, so that they have the same cookies
	fleet := newFleet(t, redis, "bounded", "CORS_ORIGINS=https://app.example.org,"+own.URL, "CORS_CREDENTIALS=true")
	home, door := fleet[0], fleet[1]
	home.start()
	door.start()
	posted := startPoster(t, redis)

	page := open(t, chromium, "a page that is let in", own.page(`document.cookie = "session=mine";`+connects(t, connectAt(door), withCredentials)))
	page.await(t, "connected "+home.name)
	posted.awaitFlow(t, page)
	assert.Equal(t, []string{door.name + " session=mine", home.name + " session=mine"}, page.asked(fleet, "Cookie"))

	for name, address := range map[string]string{
		"at the door":                           connectAt(door),
		"with a mark of nobody":                 passOn(t, door.redirect("Origin", own.URL)),
		"with a mark of the stranger's session": passOn(t, door.redirect("Origin", own.URL, "Cookie", "session=strange")),
	} {
		stranger := open(t, chromium, name, strange.page(connects(t, address, withCredentials)))
		stranger.await(t, "closed")
		assert.Equal(t, []string{"closed"}, stranger.logged(), name)
		asked := stranger.asked(fleet, "Cookie")
		assert.Regexp(t, " session=mine$", asked[len(asked)-1], name)
	}
	home.awaitViewers(1)
}
