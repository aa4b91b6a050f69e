package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/acl"
)

// The functions of this file make the set functions of the tables of keys.
// Each takes where the value goes.

// boolean takes the words of Asterisk's ast_true and ast_false. Asterisk takes
// every other text for no; here it is an error.
func boolean[T any](field func(*T) *bool) func(*value, *T) {
	return func(v *value, t *T) {
		if yes, ok := parseBool(v.text); ok {
			*field(t) = yes
		} else {
			v.errorf("%s is neither yes nor no (to Asterisk this is no)", v.shown())
		}
	}
}

func parseBool(text string) (yes, ok bool) {
	switch fold(text) {
	case "yes", "true", "y", "t", "1", "on":
		return true, true
	case "no", "false", "n", "f", "0", "off":
		return false, true
	}
	return false, false
}

// integer takes a number of the range.
func integer[T any](field func(*T) *int, least, most int) func(*value, *T) {
	return func(v *value, t *T) {
		if n, ok := digits(v.text); ok && int64(least) <= n && n <= int64(most) {
			*field(t) = int(n)
		} else {
			v.errorf("%s is no number from %d to %d", v.shown(), least, most)
		}
	}
}

// digits reads a number without a sign.
func digits(text string) (int64, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// size takes a number of bytes, with K, M or G for 1024 and its powers.
func size[T any](field func(*T) *int64, least, most int64) func(*value, *T) {
	return func(v *value, t *T) {
		if n, ok := parseSize(v.text); ok && least <= n && n <= most {
			*field(t) = n
		} else {
			v.errorf("%s is no size from %s to %s (bytes, or with K, M or G)", v.shown(), sizeText(least), sizeText(most))
		}
	}
}

const sizeUnits = "KMG"

func parseSize(text string) (int64, bool) {
	shift, number := 0, strings.TrimRight(text, "KMGkmg")
	if i := len(text) - 1; len(number) == i {
		shift = 10 * (1 + strings.Index(sizeUnits, strings.ToUpper(text[i:])))
	} else if len(number) != len(text) {
		return 0, false
	}
	n, ok := digits(number)
	if n<<shift>>shift != n {
		return 0, false
	}
	return n << shift, ok
}

func sizeText(n int64) string {
	unit := ""
	for i := range len(sizeUnits) {
		if n == 0 || n%1024 != 0 {
			break
		}
		n /= 1024
		unit = sizeUnits[i : i+1]
	}
	return strconv.FormatInt(n, 10) + unit
}

// duration takes a time with the suffix s or ms, or without one in the unit
// given. whole is what it must be a multiple of.
func duration[T any](field func(*T) *time.Duration, unit, whole, least, most time.Duration) func(*value, *T) {
	return func(v *value, t *T) {
		d, ok := parseDuration(v.text, unit)
		switch {
		case !ok || d < least || d > most:
			v.errorf("%s is no time from %s to %s (a number with s or ms; without, in %s)", v.shown(), timeText(least), timeText(most), unitName(unit))
		case d%whole != 0:
			v.errorf("%s is not in whole seconds", v.shown())
		default:
			*field(t) = d
		}
	}
}

func parseDuration(text string, unit time.Duration) (time.Duration, bool) {
	if n, ok := strings.CutSuffix(text, "ms"); ok {
		text, unit = n, time.Millisecond
	} else if n, ok := strings.CutSuffix(text, "s"); ok {
		text, unit = n, time.Second
	}
	text = trim(text)
	n, ok := digits(text)
	if !ok || n > int64(365*24*time.Hour/unit) {
		return 0, false
	}
	return time.Duration(n) * unit, true
}

// timeText writes a time as it may stand in the file.
func timeText(d time.Duration) string {
	if d%time.Second != 0 {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return strconv.FormatInt(int64(d/time.Second), 10) + "s"
}

func unitName(unit time.Duration) string {
	if unit == time.Millisecond {
		return "milliseconds"
	}
	return "seconds"
}

// text takes any text that check (nil: none) finds nothing to say against.
func text[T any](field func(*T) *string, check func(string) string) func(*value, *T) {
	return func(v *value, t *T) {
		if check != nil {
			if reason := check(v.text); reason != "" {
				v.errorf("%s %s", v.shown(), reason)
				return
			}
		}
		*field(t) = v.text
	}
}

// file takes the path of a file; relative, it starts from the folder of the
// file that the line stands in.
func file[T any](field func(*T) *path) func(*value, *T) {
	return func(v *value, t *T) {
		if v.text == "" {
			v.errorf("the name of a file is missing")
			return
		}
		*field(t) = path{name: beside(v.file, v.text), from: v}
	}
}

// path is the path of a file and the line that named it.
type path struct {
	name string
	from *value
}

// choice takes one of some words, the first of which stands for false.
func choice[T any](field func(*T) *bool, no, yes string) func(*value, *T) {
	return func(v *value, t *T) {
		switch fold(v.text) {
		case no:
			*field(t) = false
		case yes:
			*field(t) = true
		default:
			v.errorf("%s is neither %s nor %s", v.shown(), no, yes)
		}
	}
}

// address takes an IP address, without a port.
func address[T any](field func(*T) *netip.Addr) func(*value, *T) {
	return func(v *value, t *T) {
		if a, ok := parseAddr(v.text); ok {
			*field(t) = a
		} else {
			v.errorf("%s is no IP address (without a port)", v.shown())
		}
	}
}

// addressPort takes an IP address that may have a port.
func addressPort[T any](addr func(*T) *netip.Addr, port func(*T) *int) func(*value, *T) {
	return func(v *value, t *T) {
		if a, ok := parseAddr(v.text); ok {
			*addr(t), *port(t) = a, 0
		} else if ap, err := netip.ParseAddrPort(v.text); err == nil && ap.Port() != 0 {
			*addr(t), *port(t) = ap.Addr(), int(ap.Port())
		} else {
			v.errorf("%s is no IP address, nor one with a port", v.shown())
		}
	}
}

// parseAddr reads an IP address; one of IPv6 may stand in brackets.
func parseAddr(text string) (netip.Addr, bool) {
	inner, bracket := strings.CutPrefix(text, "[")
	if bracket {
		var closed bool
		if inner, closed = strings.CutSuffix(inner, "]"); !closed {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(inner)
	return a, err == nil && !(bracket && a.Is4())
}

// rule adds a deny or permit line to a list.
func rule[T any](field func(*T) *acl.List, permit bool) func(*value, *T) {
	return func(v *value, t *T) {
		if err := field(t).Add(permit, v.text); err != nil {
			v.errorf("%s", err)
		}
	}
}

// list cuts a value at its commas; false if an item is empty.
func list(text string) ([]string, bool) {
	items := strings.Split(text, ",")
	for i := range items {
		items[i] = trim(items[i])
		if items[i] == "" {
			return nil, false
		}
	}
	return items, true
}
