// Package report makes a page of a simulation: what each strategy makes of each fleet, in charts and a table. The page is
// one file that needs no network to be read.
package report

import (
	_ "embed" // for what the page is made of
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
	// library is Chart.js; chartjs/README.md says which.
	//go:embed chartjs/chart.umd.min.js
	library template.JS
	//go:embed chartjs/LICENSE.md
	libraryLicence string
	//go:embed chartjs/LICENSE-color.md
	colorLicence string

	parsed = template.Must(template.New("page").Parse(page))
)

// Write writes the page of a simulation's output, which goes into it as the JSON that it marshals to. The same output gives
// the same bytes. It fails when the output has no JSON or w takes no more.
func Write(w io.Writer, data any) error {
	// Marshalled here, because the template would only leave a comment in the page when that fails.
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
