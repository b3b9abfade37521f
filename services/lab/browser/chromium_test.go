package browser_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// needChromium names the variable that has tests fail where there is no Chromium.
const needChromium = "LIVECOMMENTS_NEED_CHROMIUM"

// startChromium starts a headless browser for the length of the test.
func startChromium(t *testing.T, settings ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	binary := lookChromium()
	if binary == "" {
		require.Empty(t, os.Getenv(needChromium), "Chromium is not in the PATH: `hack/prepare chromium` installs it")
		t.Skip("Chromium is not in the PATH: what a browser does is not tested; `hack/prepare chromium` installs it")
	}
	// Its sandbox cannot be had by root, who runs the tests in containers.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(binary), chromedp.NoSandbox)
	ctx, stop := chromedp.NewContext(context.Background(), chromedp.WithAllocatorOptions(append(options, settings...)...))
	t.Cleanup(func() {
		assert.NoError(t, chromedp.Cancel(ctx))
		stop()
	})
	require.NoError(t, chromedp.Do(ctx))
	return ctx
}

func lookChromium() string {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if binary, err := exec.LookPath(name); err == nil {
			return binary
		}
	}
	return ""
}

// tab is an open page.
type tab struct {
	console
	ctx    context.Context
	chains []*chain // under the mutex of the console
	wrong  []string // what the browser or the page complained of; under the same mutex
}

// chain is a request and those that it was redirected to. What was not sent, because nobody listens there, has no headers.
type chain struct {
	id      network.RequestID
	urls    []string
	headers []network.Headers
}

// open opens a page in a tab.
func open(t *testing.T, browser context.Context, name, url string) *tab {
	t.Helper()
	p := &tab{console: console{of: name}}
	ctx, stop := chromedp.NewContext(browser, chromedp.WithListener(p.note))
	p.ctx = ctx
	messages := chromedp.Console(ctx)
	var reading sync.WaitGroup
	reading.Go(func() {
		for message, err := range messages {
			if err == nil && (message.Type == chromedp.ConsoleLog || message.IsException()) {
				p.write(message.Text)
			}
			if err == nil && (message.Type == chromedp.ConsoleError || message.Type == chromedp.ConsoleWarning || message.IsException()) {
				p.complain(message.String())
			}
		}
	})
	t.Cleanup(func() {
		assert.NoError(t, chromedp.Cancel(ctx))
		stop()
		reading.Wait()
	})
	_, err := chromedp.Call(ctx, network.Enable, network.EnableParams{})
	require.NoError(t, err)
	p.visit(t, url)
	return p
}

func (p *tab) complain(of string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.wrong = append(p.wrong, of)
}

// complaints are the errors, warnings and exceptions in the console.
func (p *tab) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.wrong)
}

// visit has the tab leave its page for another.
func (p *tab) visit(t *testing.T, url string) {
	t.Helper()
	require.NoError(t, chromedp.Do(p.ctx, chromedp.Navigate(url)))
}

// note notes what the page requests.
func (p *tab) note(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch event := event.(type) {
	case *network.EventRequestWillBeSent:
		c := p.chain(event.RequestID)
		c.urls = append(c.urls, event.Request.URL)
	case *network.EventRequestWillBeSentExtraInfo:
		c := p.chain(event.RequestID)
		c.headers = append(c.headers, event.Headers)
	}
}

func (p *tab) chain(id network.RequestID) *chain {
	for _, c := range p.chains {
		if c.id == id {
			return c
		}
	}
	c := &chain{id: id}
	p.chains = append(p.chains, c)
	return c
}

// asked is which readers were sent a request, each with a header of it.
func (p *tab) asked(fleet []*reader, header string) (asked []string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.chains {
		for i, headers := range c.headers {
			for _, r := range fleet {
				if i < len(c.urls) && strings.HasPrefix(c.urls[i], r.URL+"/") {
					asked = append(asked, fmt.Sprint(r.name, " ", headers[header]))
				}
			}
		}
	}
	return asked
}
