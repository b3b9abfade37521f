package bench

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// text is the output for people.
func (o Output) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", o.Machine)
	for _, result := range o.Scenes {
		fmt.Fprintf(&out, "\n%s: %s\n", result.Scene, result.Title)
		if len(result.Loads) > 0 {
			fmt.Fprintf(&out, "%s\n", render(result.Loads))
		}
		for _, fact := range result.Facts {
			fmt.Fprintf(&out, "  %s\n", fact)
		}
		for _, goal := range result.Goals {
			mark := "met"
			if !goal.Met {
				mark = "NOT met"
			}
			fmt.Fprintf(&out, "  %s: %s\n", mark, goal.Says)
		}
	}
	return out.String()
}

func render(loads []Load) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Options.DrawBorder = false
	t.AppendHeader(table.Row{"", "viewers", "comments/s", "seconds", "deliveries/s", "CPU a delivery", "per read", "p50", "p99", "max", "wrong"})
	var right []table.ColumnConfig
	for column := 2; column <= 11; column++ {
		right = append(right, table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(right)
	for _, l := range loads {
		t.AppendRow(table.Row{
			l.Of, l.Viewers, fmt.Sprintf("%.1f", l.CommentsPerSecond), fmt.Sprintf("%.1f", l.Seconds), fmt.Sprintf("%.0f", l.DeliveriesPerSecond),
			fmt.Sprintf("%.2f µs", l.CPUMicros), fmt.Sprintf("%.2f", l.PerRead), l.P50, l.P99, l.Max, l.Wrong,
		})
	}
	return t.Render()
}
