// Package report writes the results of an experiment as an HTML page with charts and tables.
package report

import (
	_ "embed" // for the parts of the page
	"html/template"
	"io"

	"github.com/livecomments/livecomments/services/lab/page"
)

var (
	//go:embed body.html
	body template.HTML
	//go:embed page.js
	script template.JS
)

// Write writes the page for the output of an experiment.
func Write(w io.Writer, data any) error {
	return page.Write(w, page.Page{
		Title: "Livecomments: placement of viewers, measured", Maker: "the experiment", Body: body, Script: script,
	}, data)
}
