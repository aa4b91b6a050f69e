package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/go-multierror"
)

// Error is one thing that is wrong with the configuration, and where. Its text
// never holds a secret: values are quoted as they stand in the file, before
// ${NAME} is expanded, and those of secret keys never.
type Error struct {
	File string
	Line int
	// Section and Key are empty where there is none.
	Section string
	Key     string
	Reason  string
}

// Error is "file:line: [section] key: why".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 { // else the file could not be read at all
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	if e.Section != "" {
		fmt.Fprintf(&b, "[%s] ", e.Section)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, "%s: ", e.Key)
	}
	b.WriteString(e.Reason)
	return b.String()
}

// Invalid is the error of a configuration with which anything is wrong.
type Invalid struct {
	// Errors holds an [*Error] for everything that is wrong, in the order of the
	// file; there is at least one.
	Errors *multierror.Error
	// Warnings are what Config.Warnings would have been.
	Warnings []string
}

// Error is one line for each of the errors.
func (e *Invalid) Error() string { return e.Errors.Error() }

// Unwrap is all errors.
func (e *Invalid) Unwrap() error { return e.Errors }

// place is where in the files something stands.
type place struct {
	file string
	line int
}

func (p place) String() string { return fmt.Sprintf("%s:%d", p.file, p.line) }

// maxFindings is how many errors, and how many warnings, are told.
const maxFindings = 1000

// report collects what is wrong and what is odd.
type report struct {
	errors   []*Error
	warnings []*Error
	risks    []*Error // what is allowed, and dangerous
	// order is the order in which files were first opened.
	order map[string]int
	// seen drops what a template would have said again for every heir.
	seen map[Error]bool
}

func newReport() *report {
	return &report{order: map[string]int{}, seen: map[Error]bool{}}
}

func (r *report) errorf(at place, section, key, format string, args ...any) {
	r.add(&r.errors, "error", at, section, key, fmt.Sprintf(format, args...))
}

func (r *report) warnf(at place, section, key, format string, args ...any) {
	r.add(&r.warnings, "warning", at, section, key, fmt.Sprintf(format, args...))
}

func (r *report) riskf(at place, section, key, format string, args ...any) {
	r.add(&r.risks, "risk", at, section, key, fmt.Sprintf(format, args...))
}

func (r *report) add(list *[]*Error, kind string, at place, section, key, reason string) {
	if len(*list) > maxFindings {
		return
	}
	if len(*list) == maxFindings {
		section, key, reason = "", "", "too many findings: the rest is left out"
	}
	once := Error{File: at.file, Line: at.line, Section: kind, Key: key, Reason: reason}
	if r.seen[once] {
		return
	}
	r.seen[once] = true
	*list = append(*list, &Error{File: at.file, Line: at.line, Section: section, Key: key, Reason: reason})
}

// opened notes the place of a file in the order of the findings.
func (r *report) opened(file string) {
	if _, ok := r.order[file]; !ok {
		r.order[file] = len(r.order)
	}
}

func (r *report) sort(list []*Error) {
	slices.SortStableFunc(list, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(r.order[a.File], r.order[b.File]), cmp.Compare(a.Line, b.Line))
	})
}

// err is all findings in file order as an [*Invalid], nil if none is an error.
func (r *report) err() error {
	if len(r.errors) == 0 {
		return nil
	}
	r.sort(r.errors)
	all := &multierror.Error{ErrorFormat: oneALine}
	for _, e := range r.errors {
		all = multierror.Append(all, e)
	}
	return &Invalid{Errors: all, Warnings: texts(r, r.warnings)}
}

// texts are findings in the order of the file.
func texts(r *report, list []*Error) (texts []string) {
	r.sort(list)
	for _, e := range list {
		texts = append(texts, e.Error())
	}
	return texts
}

func oneALine(errs []error) string {
	lines := make([]string, len(errs))
	for i, err := range errs {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}
