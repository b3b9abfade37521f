// Package report writes the results of a simulation as an HTML page with charts and a table.
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

// Write writes the page for the output of a simulation.
func Write(w io.Writer, data any) error {
	return page.Write(w, page.Page{
		Title: "Livecomments: placement of viewers, simulated", Maker: "the simulation", Body: body, Script: script,
	}, data)
}
