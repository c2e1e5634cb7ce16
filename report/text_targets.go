package report

import (
	"strings"

	"berth/platform"
	"berth/target"
)

func (f *textFormat) Targets(targets []*target.Target) error {
	p := f.page()
	if len(targets) == 1 {
		p.target(targets[0])
		return f.flush(p)
	}
	var rows [][]string
	for _, t := range targets {
		rows = append(rows, []string{t.Name, t.Title, runs(t), formatOrDash(t.Default), string(t.Accepts.Index)})
	}
	p.table([]string{"NAME", "TARGET", "RUNS", "DEFAULT", "INDEX"}, rows)
	p.line("")
	p.line("%s", p.dim("NAME/ARCH asks for an architecture (fargate/arm64); berth targets NAME shows every fact with its source."))
	return f.flush(p)
}

func (p *page) target(t *target.Target) {
	p.line("%s (%s)", p.bold(t.Title), t.Name)
	if len(t.Aliases) > 0 {
		p.line("  %s %s", p.dim("also called  "), strings.Join(t.Aliases, ", "))
	}
	declared := t.DeclaredIn
	if declared == "" {
		declared = "nowhere"
	}
	p.line("  %s %s", p.dim("runs         "), runs(t))
	p.line("  %s %s", p.dim("default      "), formatOrDash(t.Default))
	p.line("  %s %s", p.dim("declared in  "), declared)
	p.line("  %s index: %s, attestation: %s, zstd: %s, OCI media types: %s", p.dim("accepts      "), t.Accepts.Index, t.Accepts.Attestation, t.Accepts.Zstd, t.Accepts.OCI)
	if t.Accepts.MaxUncompressed > 0 {
		p.line("  %s %s uncompressed", p.dim("at most      "), size(t.Accepts.MaxUncompressed))
	}
	for _, fact := range t.Facts {
		p.line("")
		p.line("  %s: %s", p.bold(fact.Topic), fact.Says)
		p.line("    %s", p.dim(fact.Source+", checked on "+fact.Checked))
	}
}

func runs(t *target.Target) string {
	if len(t.Runs) == 0 {
		return "what its machines are"
	}
	var s []string
	for _, r := range t.Runs {
		s = append(s, platform.Format(r))
	}
	return strings.Join(s, ", ")
}
