// Package pages serves the two pages that show the system, and what they are made of. All of it is in the binary.
package pages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/server"
)

//go:embed static client/livecomments.js
var files embed.FS

// Config says whether there are pages, and where a browser finds what they need.
type Config struct {
	Pages      bool   `name:"pages" env:"PAGES" default:"true" negatable:"" help:"Whether to serve the pages that show the system, / and /watch, and what they alone need."`
	ReaderURL  string `name:"pages-reader-url" env:"PAGES_READER_URL" help:"Where browsers reach the readers, such as https://live.example.org. Default: where they have the page from."`
	CommentURL string `name:"pages-comment-url" env:"PAGES_COMMENT_URL" help:"Where browsers reach the Comment API. Default: where they have the page from."`
	Watchers   int    `name:"pages-watchers" env:"PAGES_WATCHERS" default:"100" validate:"min=1" help:"How many browsers may have the page of the fleet open at a time; a further one is answered 503."`
}

// Validate returns what is wrong with the addresses. The error names the setting.
func (c *Config) Validate() error {
	for _, setting := range []struct{ name, value string }{{"PAGES_READER_URL", c.ReaderURL}, {"PAGES_COMMENT_URL", c.CommentURL}} {
		if setting.value == "" {
			continue
		}
		u, err := url.Parse(setting.value)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
			return config.Errorf("%s=%q must be an http:// or https:// URL", setting.name, setting.value)
		}
		if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" {
			return config.Errorf("%s=%q must have no user, query or fragment: browsers are given it", setting.name, u.Redacted())
		}
	}
	return nil
}

// Register adds the pages to the routes of a server, and /pages.json, where they learn the addresses of cfg.
func Register(srv *server.Server, cfg Config) error {
	assets, err := load()
	if err != nil {
		return err
	}
	addresses := gin.H{"reader": strings.TrimRight(cfg.ReaderURL, "/"), "comment": strings.TrimRight(cfg.CommentURL, "/")}
	srv.Get("/", assets.page("static/fleet.html", policy("'self'")))
	// Readers come and go, and a viewer is sent on to any of them.
	srv.Get("/watch", assets.page("static/watch.html", policy("'self' http: https:")))
	srv.Get("/client.js", func(c *gin.Context) { assets["client/livecomments.js"].serve(c) })
	srv.Get("/pages.json", func(c *gin.Context) {
		c.Header("Cache-Control", "no-cache")
		server.JSON(c, http.StatusOK, addresses)
	})
	srv.Get("/assets/*name", func(c *gin.Context) {
		one := assets["static"+c.Param("name")]
		if one == nil || strings.HasSuffix(c.Param("name"), ".html") {
			server.Fail(c, http.StatusNotFound, "there is no %s here", c.Request.URL.Path)
			return
		}
		one.serve(c)
	})
	return nil
}

// policy is the Content-Security-Policy of a page that may connect to some addresses, and else only to its own.
func policy(connect string) string {
	return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src " + connect +
		"; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}

// assets are files by their paths in this folder.
type assets map[string]*asset

type asset struct {
	contentType, tag string
	plain, zipped    []byte // zipped is nil where it would not be smaller
}

// types are the media types of what a page is made of: those that the operating system knows differ.
var types = map[string]string{
	".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
	".svg": "image/svg+xml", ".png": "image/png", ".json": "application/json", ".woff2": "font/woff2",
}

func load() (assets, error) {
	all := assets{}
	err := fs.WalkDir(files, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := files.ReadFile(name)
		if err != nil {
			return err
		}
		all[name], err = newAsset(name, content)
		return err
	})
	return all, err
}

func newAsset(name string, content []byte) (*asset, error) {
	hash := sha256.Sum256(content)
	a := &asset{contentType: types[path.Ext(name)], tag: base64.RawURLEncoding.EncodeToString(hash[:12]), plain: content}
	if a.contentType == "" {
		a.contentType = "text/plain; charset=utf-8" // a licence
	}
	var zipped bytes.Buffer
	writer, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := writer.Write(content); err != nil {
		return nil, err
	}
	if err := writer.Close(); err != nil {
		return nil, err
	}
	if zipped.Len() < len(content) {
		a.zipped = zipped.Bytes()
	}
	return a, nil
}

// page serves a file as a page with a Content-Security-Policy.
func (all assets) page(name, policy string) gin.HandlerFunc {
	return func(c *gin.Context) {
		c.Header("Content-Security-Policy", policy)
		c.Header("Referrer-Policy", "no-referrer")
		all[name].serve(c)
	}
}

func (a *asset) serve(c *gin.Context) {
	header := c.Writer.Header()
	header.Set("Content-Type", a.contentType)
	header.Set("X-Content-Type-Options", "nosniff")
	// A browser asks each time, and is told in a few bytes that nothing has changed: pages, client and API are of one version.
	header.Set("Cache-Control", "no-cache")
	header.Add("Vary", "Accept-Encoding")
	content, tag := a.plain, a.tag
	if a.zipped != nil && acceptsGzip(c.Request) {
		content, tag = a.zipped, a.tag+"-gzip"
		header.Set("Content-Encoding", "gzip")
	}
	header.Set("ETag", fmt.Sprintf("%q", tag))
	http.ServeContent(c.Writer, c.Request, "", time.Time{}, bytes.NewReader(content))
}

// acceptsGzip reports whether a client says that it takes gzip, as browsers say it. One that says it in another way gets what
// everybody takes.
func acceptsGzip(r *http.Request) bool {
	for coding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		if strings.TrimSpace(coding) == "gzip" {
			return true
		}
	}
	return false
}
