package browser_test

import (
	"crypto/tls"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// documented is the script of a page of the documentation, as it is to be copied, with another reader.
func documented(t *testing.T, page, reader string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", page))
	require.NoError(t, err)
	for _, block := range regexp.MustCompile("(?s)```js\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		if strings.Contains(block[1], "function watch(") {
			return at(t, block[1], reader)
		}
	}
	require.FailNow(t, "no script", "%s has no ```js block with `function watch(`", page)
	return ""
}

// script is one of testdata, with a reader and settings such as `const method = "GET";`.
func script(t *testing.T, name, reader, settings string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return settings + "\n" + at(t, string(text), reader)
}

// at puts another reader into a script.
func at(t *testing.T, script, reader string) string {
	t.Helper()
	const named = "http://localhost:4001/"
	require.Equal(t, 1, strings.Count(script, named), "the script names one reader")
	return strings.ReplaceAll(script, named, reader+"/")
}

// site serves pages, from an origin of its own.
type site struct {
	*httptest.Server
	mux   *http.ServeMux
	pages int
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := makeSite(t)
	s.Start()
	return s
}

// newSecureSite is newSite with https.
func newSecureSite(t *testing.T, certificate tls.Certificate) *site {
	t.Helper()
	s := makeSite(t)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	return s
}

func makeSite(t *testing.T) *site {
	t.Helper()
	mux := http.NewServeMux()
	s := &site{Server: httptest.NewUnstartedServer(mux), mux: mux}
	t.Cleanup(s.Close)
	return s
}

// page adds a page that runs a script, and returns its URL.
func (s *site) page(script string) string { return s.add("<script>" + script + "</script>") }

// sandbox adds a page that runs a script in a sandbox, where it has no origin.
func (s *site) sandbox(script string) string {
	return s.add(fmt.Sprintf(`<iframe sandbox="allow-scripts" srcdoc="%s"></iframe>`, html.EscapeString("<script>"+script+"</script>")))
}

func (s *site) add(body string) string {
	s.pages++
	path := fmt.Sprint("/", s.pages)
	s.mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, `<!doctype html><link rel="icon" href="data:,"><script>onmessage = ({ data }) => console.log(data);</script>`+body)
	})
	return s.URL + path
}
