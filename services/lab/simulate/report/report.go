// Package report writes the results of a simulation as an HTML page with charts and a table. The page is one file, and loads
// nothing from the network.
package report

import (
	_ "embed" // for the parts of the page
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"strings"
)

var (
	//go:embed page.html
	page string
	//go:embed page.css
	style template.CSS
	//go:embed page.js
	script template.JS
	// library is Chart.js in the version that chartjs/README.md names.
	//go:embed chartjs/chart.umd.min.js
	library template.JS
	//go:embed chartjs/LICENSE.md
	libraryLicence string
	//go:embed chartjs/LICENSE-color.md
	colorLicence string

	parsed = template.Must(template.New("page").Parse(page))
)

// Write writes the page for the output of a simulation, which it embeds as JSON. The same output gives the same bytes. It
// fails when the output cannot be marshalled, or on an error of w.
func Write(w io.Writer, data any) error {
	// Marshalled here, because the template would hide an error in a comment of the page.
	marshalled, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return parsed.Execute(w, map[string]any{
		"Data":     json.RawMessage(marshalled),
		"Style":    style,
		"Script":   script,
		"Library":  library[:strings.LastIndex(string(library), "//# sourceMappingURL=")], // the map is not in the page
		"Licences": []string{libraryLicence, colorLicence},
	})
}
