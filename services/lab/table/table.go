// Package table makes tables as the lab prints them.
package table

import (
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// Row is a row of a table.
type Row = table.Row

// New makes a table without a border. Its first columns, so many as names, hold names; the others hold figures, which are
// aligned at the right.
func New(names int, header Row) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Options.DrawBorder = false
	t.AppendHeader(header)
	var figures []table.ColumnConfig
	for column := names + 1; column <= len(header); column++ {
		figures = append(figures, table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(figures)
	return t
}
