package fence

import "slices"

// Set is some tenants by their names in lower case, sorted. It is never changed.
type Set []string

// union returns what is in any of two sets; one of them if that has all.
func union(a, b Set) Set {
	switch {
	case len(b) == 0 || a.has(b):
		return a
	case len(a) == 0 || b.has(a):
		return b
	}
	both := slices.Concat(a, b)
	slices.Sort(both)
	return slices.Compact(both)
}

// both returns what is in each of two sets.
func both(a, b Set) (s Set) {
	for _, name := range a {
		if slices.Contains(b, name) {
			s = append(s, name)
		}
	}
	return s
}

// has reports whether all of b is in a.
func (a Set) has(b Set) bool {
	for _, name := range b {
		if !slices.Contains(a, name) {
			return false
		}
	}
	return true
}
