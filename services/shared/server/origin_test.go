package server_test

import (
	"bufio"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/livecomments/livecomments/services/shared/server"
	"github.com/livecomments/livecomments/services/shared/server/servertest"
)

func TestAnOriginIsAllowedHoweverItIsWritten(t *testing.T) {
	for given, sent := range map[string]string{
		"https://app.example.org":              "https://app.example.org",
		"https://app.example.org/":             "https://app.example.org",
		" https://app.example.org ":            "https://app.example.org",
		"HTTPS://App.Example.ORG":              "https://app.example.org",
		"https://app.example.org:443":          "https://app.example.org",
		"https://app.example.org:0443/":        "https://app.example.org",
		"https://app.example.org:":             "https://app.example.org",
		"http://app.example.org:80":            "http://app.example.org",
		"http://app.example.org:443":           "http://app.example.org:443",
		"http://localhost:8080/":               "http://localhost:8080",
		"https://bücher.example":               "https://xn--bcher-kva.example",
		"https://BÜCHER.example/":              "https://xn--bcher-kva.example",
		"https://xn--bcher-kva.example":        "https://xn--bcher-kva.example",
		"https://straße.example":               "https://xn--strae-oqa.example",
		"https://my_app.example":               "https://my_app.example",
		"https://a--b.example":                 "https://a--b.example",
		"http://127.0.0.1:3000":                "http://127.0.0.1:3000",
		"http://[::1]:3000":                    "http://[::1]:3000",
		"http://[0:0:0:0:0:0:0:1]":             "http://[::1]",
		"http://[2001:DB8::A]:80":              "http://[2001:db8::a]",
		"http://[::ffff:192.0.2.1]":            "http://[::ffff:c000:201]",
		"https://a.example,https://b.test/":    "https://b.test",
		"https://a.example,,":                  "https://a.example",
		"https://a.example/,https://a.example": "https://a.example",
	} {
		t.Run(given, func(t *testing.T) {
			s := start(t, func(cfg *settings) { cfg.Server.CORSOrigins = strings.Split(given, ",") })
			answer := servertest.Do(t, "POST", s.URL+"/echo", "{}", "Origin", sent)
			assert.Equal(t, 200, answer.Status)
			assert.Equal(t, sent, answer.Header.Get("Access-Control-Allow-Origin"))
			assert.Equal(t, 403, servertest.Do(t, "POST", s.URL+"/echo", "{}", "Origin", "https://elsewhere.example").Status)
		})
	}
}

func TestAnOriginThatNoBrowserSendsStopsTheService(t *testing.T) {
	const nothingAfter, scheme, host = " must have nothing after its host and port", " must begin with http:// or https://", " has no host that a browser knows"
	for given, says := range map[string]string{
		"https://app.example.org/watch":        `"https://app.example.org/watch"` + nothingAfter,
		"https://app.example.org//":            `"https://app.example.org//"` + nothingAfter,
		"https://app.example.org?":             `"https://app.example.org?"` + nothingAfter,
		"https://app.example.org/?a=b":         `"https://app.example.org/?a=b"` + nothingAfter,
		"https://app.example.org#":             `"https://app.example.org#"` + nothingAfter,
		"https://app.example.org/#a":           `"https://app.example.org/#a"` + nothingAfter,
		"https://me:secret@app.example.org":    `"https://me:xxxxx@app.example.org" must have no user and no password`,
		"app.example.org":                      `"app.example.org"` + scheme,
		"localhost:3000":                       `"localhost:3000"` + scheme,
		"//app.example.org":                    `"//app.example.org"` + scheme,
		"https:app.example.org":                `"https:app.example.org"` + scheme,
		"wss://app.example.org":                `"wss://app.example.org"` + scheme,
		"file://":                              `"file://"` + scheme,
		"chrome-extension://abc":               `"chrome-extension://abc"` + scheme,
		"/https:..app.example.org/":            `"/https:..app.example.org/"` + scheme,
		"null":                                 `"null" is the origin of every sandboxed page and local file, and cannot be allowed`,
		"https://a.example,null":               `"null" is the origin of every sandboxed page and local file, and cannot be allowed`,
		"*,https://a.example":                  `"*" allows all origins and must stand alone`,
		"https://a.example,*":                  `"*" allows all origins and must stand alone`,
		"https://*.example.org":                `"https://*.example.org" matches no origin: * allows all, and cannot be a part of one`,
		"https://*":                            `"https://*" matches no origin: * allows all, and cannot be a part of one`,
		"*.example.org":                        `"*.example.org"` + scheme,
		"https://":                             `"https://"` + host,
		"https://:443":                         `"https://:443"` + host,
		"https://app example.org":              `"https://app example.org"` + host,
		"https://a..example":                   `"https://a..example"` + host,
		"https://a;b.example":                  `"https://a;b.example"` + host,
		"https://xn--a.example":                `"https://xn--a.example"` + host,
		"http://127.1":                         `"http://127.1"` + host,
		"http://0x7f.0.0.0x1":                  `"http://0x7f.0.0.0x1"` + host,
		"http://[fe80::1%25eth0]":              `"http://[fe80::1%25eth0]"` + host,
		"http://[::1":                          `"http://[::1"` + host,
		"http://localhost:65536":               `"http://localhost:65536" must have a port from 1 to 65535`,
		"http://localhost:0":                   `"http://localhost:0" must have a port from 1 to 65535`,
		"https://a.example;https://b.example":  `"https://a.example;https://b.example"` + nothingAfter,
		"https://a.example https://b.example":  `"https://a.example https://b.example"` + host,
		"https://a.example\nhttps://b.example": `"https://a.example\nhttps://b.example"` + host,
	} {
		t.Run(given, func(t *testing.T) {
			cfg := servertest.Defaults(t, func(cfg *settings) { cfg.Server.CORSOrigins = strings.Split(given, ",") })
			_, err := server.New("test", 1, cfg.Server)
			require.EqualError(t, err, "CORS_ORIGINS: "+says)
		})
	}
	for _, given := range []string{"", " ", ",", " , "} {
		cfg := servertest.Defaults(t, func(cfg *settings) { cfg.Server.CORSOrigins = strings.Split(given, ",") })
		_, err := server.New("test", 1, cfg.Server)
		require.EqualError(t, err, "CORS_ORIGINS must name at least one origin, or be * for all", "%q", given)
	}
}

func TestAPageSendsCredentialsOnlyWhereThatIsSet(t *testing.T) {
	preflight := func(s *servertest.Service) servertest.Answer {
		answer := servertest.Do(t, "OPTIONS", s.URL+"/echo", "", "Origin", "https://app.example.org",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "authorization,content-type")
		assert.Equal(t, 204, answer.Status)
		return answer
	}
	origins := []string{"https://app.example.org/"}
	with := start(t, func(cfg *settings) { cfg.Server.CORSOrigins, cfg.Server.CORSCredentials = origins, true })
	allowed := preflight(with)
	assert.Equal(t, "true", allowed.Header.Get("Access-Control-Allow-Credentials"))
	assert.Equal(t, "https://app.example.org", allowed.Header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, strings.Split(allowed.Header.Get("Access-Control-Allow-Headers"), ","), "Authorization")
	answer := servertest.Do(t, "POST", with.URL+"/echo", "{}", "Origin", "https://app.example.org", "Authorization", "Bearer x", "Cookie", "a=b")
	assert.Equal(t, 200, answer.Status)
	assert.Equal(t, "true", answer.Header.Get("Access-Control-Allow-Credentials"))
	elsewhere := servertest.Do(t, "POST", with.URL+"/echo", "{}", "Origin", "https://elsewhere.example")
	assert.Equal(t, 403, elsewhere.Status)
	assert.Empty(t, elsewhere.Header.Get("Access-Control-Allow-Credentials"))

	without := preflight(start(t, func(cfg *settings) { cfg.Server.CORSOrigins = origins }))
	assert.Empty(t, without.Header.Get("Access-Control-Allow-Credentials"))
	assert.NotContains(t, without.Header.Get("Access-Control-Allow-Headers"), "Authorization")

	for _, all := range [][]string{{"*"}, {" * "}} {
		cfg := servertest.Defaults(t, func(cfg *settings) { cfg.Server.CORSOrigins, cfg.Server.CORSCredentials = all, true })
		_, err := server.New("test", 1, cfg.Server)
		require.EqualError(t, err, "CORS_CREDENTIALS=true needs CORS_ORIGINS to name the origins: browsers send no credentials where it is *")
	}
}

func TestAPageCanReadErrorsAndStreamsToo(t *testing.T) {
	const origin = "https://app.example.org"
	s := startWith(t, func(cfg *settings) { cfg.Server.CORSOrigins, cfg.Server.CORSCredentials = []string{origin}, true }, func(srv *server.Server) {
		srv.Engine.POST("/echo", func(c *gin.Context) { server.ReadJSON(c, &struct{}{}) })
		srv.Engine.GET("/panic", func(*gin.Context) { panic("oops") })
		// As a reader does, the handler writes the head of the stream itself.
		srv.Engine.GET("/stream", func(c *gin.Context) {
			head := c.Writer.Header().Clone()
			connection, _, err := c.Writer.Hijack()
			if assert.NoError(t, err) {
				_, _ = io.WriteString(connection, "HTTP/1.1 200 OK\r\n")
				_ = head.Write(connection)
				_, _ = io.WriteString(connection, "\r\n")
				_ = connection.Close()
			}
		})
	})
	for request, status := range map[string]int{
		"GET /stream": 200, "POST /echo": 400, "GET /echo": 405, "GET /nowhere": 404, "GET /panic": 500,
	} {
		connection := dial(t, s, request+" HTTP/1.1\r\nHost: x\r\nOrigin: "+origin+"\r\nContent-Length: 0\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
		require.NoError(t, err, request)
		assert.Equal(t, status, answer.StatusCode, request)
		assert.Equal(t, origin, answer.Header.Get("Access-Control-Allow-Origin"), request)
		assert.Equal(t, "true", answer.Header.Get("Access-Control-Allow-Credentials"), request)
		assert.Equal(t, "Retry-After", answer.Header.Get("Access-Control-Expose-Headers"), request)
		assert.Equal(t, "Origin", answer.Header.Get("Vary"), request)
	}
	own := servertest.Do(t, "POST", s.URL+"/echo", "{}", "Origin", s.URL)
	assert.Equal(t, 200, own.Status, "a page of this very host needs no permission")
	assert.Empty(t, own.Header.Get("Access-Control-Allow-Origin"))
}
