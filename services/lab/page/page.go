// Package page writes results as an HTML page with charts and tables. A page is one file, and loads nothing from the network.
package page

import (
	_ "embed" // for the parts of the page
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
)

var (
	//go:embed frame.html
	frame string
	//go:embed page.css
	style template.CSS
	//go:embed page.js
	common template.JS
	// library is Chart.js in the version that chartjs/README.md names.
	//go:embed chartjs/chart.umd.min.js
	library template.JS
	//go:embed chartjs/LICENSE.md
	libraryLicence string
	//go:embed chartjs/LICENSE-color.md
	colorLicence string

	parsed = template.Must(template.New("page").Parse(frame))
)

// Page is what one kind of page has of its own.
type Page struct {
	Title string
	// Maker is what made the page, as in "the simulation".
	Maker string
	// Body is what stands above the footer.
	Body template.HTML
	// Script fills Body. It runs after Chart.js and page.js, whose Page has the data.
	Script template.JS
}

// Write writes a page for data, which it embeds as JSON. The same data gives the same bytes. It fails when the data cannot be
// marshalled, or on an error of w.
func Write(w io.Writer, p Page, data any) error {
	// Marshalled here, because the template would hide an error in a comment of the page.
	marshalled, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("page: %w", err)
	}
	return parsed.Execute(w, map[string]any{
		"Title":    p.Title,
		"Maker":    p.Maker,
		"Body":     p.Body,
		"Data":     json.RawMessage(marshalled),
		"Style":    style,
		"Common":   common,
		"Script":   p.Script,
		"Library":  library[:strings.LastIndex(string(library), "//# sourceMappingURL=")], // the map is not in the page
		"Licences": []string{libraryLicence, colorLicence},
	})
}
