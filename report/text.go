package report

import (
	"fmt"
	"io"
	"strings"

	"charm.land/lipgloss/v2"
	"charm.land/lipgloss/v2/table"
	"github.com/dustin/go-humanize"

	"berth/platform"
)

// textFormat writes for people.
type textFormat struct {
	w     io.Writer
	style style
}

// style colours words, or does nothing.
type style struct{ color bool }

func (s style) render(st lipgloss.Style, text string) string {
	if !s.color || text == "" {
		return text
	}
	return st.Render(text)
}

func (s style) bold(t string) string { return s.render(lipgloss.NewStyle().Bold(true), t) }
func (s style) dim(t string) string  { return s.render(lipgloss.NewStyle().Faint(true), t) }
func (s style) good(t string) string {
	return s.render(lipgloss.NewStyle().Foreground(lipgloss.Green), t)
}

func (s style) bad(t string) string { return s.render(lipgloss.NewStyle().Foreground(lipgloss.Red), t) }

func (s style) unsure(t string) string {
	return s.render(lipgloss.NewStyle().Foreground(lipgloss.Yellow), t)
}

func (s style) command(t string) string {
	return s.render(lipgloss.NewStyle().Foreground(lipgloss.Cyan), t)
}

// page collects lines, so that a failing writer is noticed once, at the end.
type page struct {
	strings.Builder
	style
}

func (f *textFormat) page() *page { return &page{style: f.style} }

func (p *page) line(format string, args ...any) {
	fmt.Fprintf(p, format, args...)
	p.WriteByte('\n')
}

// table writes rows under a header, indented by two.
func (p *page) table(header []string, rows [][]string) {
	t := table.New().Border(lipgloss.HiddenBorder()).
		BorderTop(false).BorderBottom(false).BorderLeft(false).BorderRight(false).BorderHeader(false).BorderColumn(false).
		Wrap(false).Headers(header...).Rows(rows...).
		StyleFunc(func(row, col int) lipgloss.Style {
			st := lipgloss.NewStyle()
			if col < len(header)-1 {
				st = st.PaddingRight(3)
			}
			if row == table.HeaderRow && p.color {
				st = st.Faint(true)
			}
			return st
		})
	for row := range strings.SplitSeq(t.String(), "\n") {
		p.line("  %s", strings.TrimRight(row, " "))
	}
}

// columns writes rows without a header: a mark, then what is aligned.
func (p *page) columns(rows [][]string) {
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], lipgloss.Width(cell))
		}
	}
	for _, row := range rows {
		line := " "
		for i, cell := range row {
			gap := "  "
			if i < 2 {
				gap = " "
			}
			line += gap + cell + strings.Repeat(" ", widths[i]-lipgloss.Width(cell))
		}
		p.line("%s", strings.TrimRight(line, " "))
	}
}

func (f *textFormat) flush(p *page) error {
	_, err := io.WriteString(f.w, p.String())
	return err
}

func formatOrDash(p *platform.Platform) string {
	if p == nil {
		return "-"
	}
	return platform.Format(*p)
}

// size in decimal units, as registries and docker write them.
func size(n int64) string {
	return humanize.Bytes(uint64(max(n, 0)))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
