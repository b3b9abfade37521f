// Package settings writes the services' configuration tables, from the structs that define the settings.
package settings

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/livecomments/livecomments/services/client/fleet"
	commentapi "github.com/livecomments/livecomments/services/comment/api"
	readerapi "github.com/livecomments/livecomments/services/reader/api"
	"github.com/livecomments/livecomments/services/shared/broker"
	"github.com/livecomments/livecomments/services/shared/config"
	"github.com/livecomments/livecomments/services/shared/reports"
	"github.com/livecomments/livecomments/services/shared/server"
	statisticsapi "github.com/livecomments/livecomments/services/statistics/api"
)

// Command is `lab settings`.
type Command struct {
	Write string `type:"existingfile" placeholder:"FILE" help:"Replace the tables in this Markdown file instead of printing them. They stand between the lines <!-- settings --> and <!-- /settings -->."`
}

const begin, end = "<!-- settings -->\n", "<!-- /settings -->\n"

// Run prints or writes the tables.
func (c *Command) Run() error {
	tables, err := Tables()
	if err != nil {
		return err
	}
	if c.Write == "" {
		_, err := os.Stdout.Write(tables)
		return err
	}
	file, err := os.ReadFile(c.Write)
	if err != nil {
		return err
	}
	replaced, err := replace(file, tables)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Write, err)
	}
	return os.WriteFile(c.Write, replaced, 0o644) //nolint:gosec // it is documentation, for everybody to read
}

func replace(file, tables []byte) ([]byte, error) {
	before, rest, found := bytes.Cut(file, []byte(begin))
	_, after, foundEnd := bytes.Cut(rest, []byte(end))
	if !found || !foundEnd {
		return nil, fmt.Errorf("there are no lines %q and %q", strings.TrimSpace(begin), strings.TrimSpace(end))
	}
	return bytes.Join([][]byte{before, []byte(begin), tables, []byte(end), after}, nil), nil
}

// Tables are all settings in Markdown. What several services share stands once.
func Tables() ([]byte, error) {
	var out bytes.Buffer
	written := map[string]bool{}
	for _, table := range []struct {
		title  string
		target any
	}{
		{"Every service", &server.Config{}},
		{"Comment API, reader and client: where they report", &reports.Config{}},
		{"Comment API, reader and Statistics API: Redis", &broker.Config{}},
		{"Comment API", &commentapi.Config{}},
		{"Reader", &readerapi.Config{}},
		{"Statistics API", &statisticsapi.Config{}},
		{"Client", &fleet.Config{}},
	} {
		settings, err := config.Settings(table.target)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&out, "\n**%s**\n\n| variable | default | what it is |\n|---|---|---|\n", table.title)
		for _, setting := range settings {
			// Each service has a PORT of its own.
			if written[setting.Variable] && setting.Variable != "PORT" {
				continue
			}
			written[setting.Variable] = true
			row(&out, setting)
		}
	}
	out.WriteString("\n")
	return out.Bytes(), nil
}

func row(out io.Writer, setting config.Setting) {
	value := ""
	if setting.Default != "" {
		value = "`" + setting.Default + "`"
	}
	_, _ = fmt.Fprintf(out, "| `%s` | %s | %s |\n", setting.Variable, value, strings.ReplaceAll(setting.Help, "|", "\\|"))
}
