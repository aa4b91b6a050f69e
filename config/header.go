package config

import "strings"

// header reads "[name]" with its options in brackets and returns the section
// that the lines after it belong to, never nil: after a wrong header that is
// one which nobody looks at.
//
// Sections of one name are not one section in Asterisk: of [general] it reads
// only the first, and of two user sections the rules of the second replace
// those of the first. Neither can be what was meant, so it is an error here.
func (r *reader) header(at place, line string) *section {
	s := &section{place: at}
	bad := func(format string, args ...any) *section {
		r.report.errorf(at, s.name, "", format, args...)
		s.broken = true
		return s
	}
	name, rest, ok := strings.Cut(line[1:], "]")
	if !ok {
		return bad("no closing ]")
	}
	switch {
	case name == "":
		return bad("a section without a name")
	case !printable(name) || len(name) > 100:
		return bad("a section name with control characters, invalid UTF-8 or more than 100 bytes")
	}
	s.name = name
	if trim(name) != name {
		return bad("blanks around the name")
	}
	options, ok := strings.CutPrefix(rest, "(")
	if !ok {
		if rest != "" {
			return bad("text after the ]: templates follow it at once, as in [name](template)")
		}
		r.open(s)
		return s
	}
	options, rest, ok = strings.Cut(options, ")")
	if !ok {
		return bad("no closing )")
	}
	if rest != "" {
		bad("text after the )")
	}
	return r.options(s, options)
}

// options applies what stands in brackets after a section's name: ! for a
// template, + to go on with a section, and names to inherit from.
func (r *reader) options(s *section, options string) *section {
	target, add := s, false
	for option := range strings.SplitSeq(options, ",") {
		option = trim(option)
		switch {
		case option == "":
			r.problem(s.place, s, "an empty name in the brackets")
		case option == "!":
			s.template = true
		case option == "+":
			add = true
		case option[0] == '+':
			r.problem(s.place, s, "a filter after + is not supported")
		default:
			base := r.first[fold(option)]
			if base == nil {
				r.problem(s.place, s, "inherits from %q, which no section before it is called", option)
				continue
			}
			base.used = true
			s.broken = s.broken || base.broken
			if r.entries += len(base.entries); r.entries > maxEntries {
				r.problem(s.place, s, "inherits more than can be: the configuration is limited to %d lines", maxEntries)
				continue
			}
			for _, e := range base.entries {
				e.inherited = true
				s.entries = append(s.entries, e)
			}
		}
	}
	if add {
		target = r.named[fold(s.name)]
		switch {
		case s.template:
			r.problem(s.place, s, "(!) and (+) cannot go together")
			return s
		case target == nil:
			r.problem(s.place, s, "(+) adds to a section that does not exist before it")
			return s
		case target.name != s.name:
			r.problem(s.place, s, "differs only in case from [%s] at %s", target.name, target.place)
			return s
		}
		target.entries = append(target.entries, s.entries...)
		target.broken = target.broken || s.broken
		return target
	}
	r.open(s)
	return s
}

// open adds a new section to the list.
func (r *reader) open(s *section) {
	known := r.named
	if s.template {
		known = r.templates
	}
	name := fold(s.name)
	old := known[name]
	switch {
	case old == nil:
		known[name] = s
		if r.first[name] == nil {
			r.first[name] = s
		}
	case old.name != s.name:
		r.report.errorf(s.place, s.name, "", "differs only in case from [%s] at %s", old.name, old.place)
	case s.template:
		r.report.errorf(s.place, s.name, "", "a second template of this name; the first is at %s", old.place)
	default:
		r.report.errorf(s.place, s.name, "", "a second section of this name (to add to the one at %s, write [%s](+))", old.place, s.name)
	}
	r.sections = append(r.sections, s)
}
