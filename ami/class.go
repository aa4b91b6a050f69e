package ami

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Class is a set of Asterisk's permission bits: what a user may read or write,
// what an action asks for, what an event belongs to.
// Bits and names are those of include/asterisk/manager.h and manager.c: perms.
type Class uint32

// The classes. Bit 14 (hookresponse) has no name on the wire and is only part
// of [ClassAll].
const (
	ClassSystem    Class = 1 << 0
	ClassCall      Class = 1 << 1
	ClassLog       Class = 1 << 2
	ClassVerbose   Class = 1 << 3
	ClassCommand   Class = 1 << 4
	ClassAgent     Class = 1 << 5
	ClassUser      Class = 1 << 6
	ClassConfig    Class = 1 << 7
	ClassDTMF      Class = 1 << 8
	ClassReporting Class = 1 << 9
	ClassCDR       Class = 1 << 10
	ClassDialplan  Class = 1 << 11
	ClassOriginate Class = 1 << 12
	ClassAGI       Class = 1 << 13
	ClassCC        Class = 1 << 15
	ClassAOC       Class = 1 << 16
	ClassTest      Class = 1 << 17
	ClassSecurity  Class = 1 << 18
	ClassMessage   Class = 1 << 30

	// ClassNone is the authority of an action that asks for no right, and the
	// class of an event that is meant for everybody.
	ClassNone Class = 0
	// ClassAll is every right there is or will be. As the class of an event it
	// means: only for those who may read everything.
	ClassAll Class = math.MaxInt32
)

// classNames is in Asterisk's output order (manager.c: perms).
var classNames = [...]struct {
	name string
	bit  Class
}{
	{"system", ClassSystem}, {"call", ClassCall}, {"log", ClassLog},
	{"verbose", ClassVerbose}, {"command", ClassCommand}, {"agent", ClassAgent},
	{"user", ClassUser}, {"config", ClassConfig}, {"dtmf", ClassDTMF},
	{"reporting", ClassReporting}, {"cdr", ClassCDR}, {"dialplan", ClassDialplan},
	{"originate", ClassOriginate}, {"agi", ClassAGI}, {"cc", ClassCC},
	{"aoc", ClassAOC}, {"test", ClassTest}, {"security", ClassSecurity},
	{"message", ClassMessage}, {"all", ClassAll}, {"none", ClassNone},
}

// ParseClasses reads a read= or write= list strictly: names separated by
// commas, blanks around them ignored, each one known. Asterisk is laxer to the
// point of danger (a name that is not last matches every class it is a prefix
// of, so that ",call" grants everything; manager.c: get_perm): here such a list
// is an error. An empty list grants nothing.
func ParseClasses(list string) (Class, error) {
	if strings.TrimSpace(list) == "" {
		return ClassNone, nil
	}
	var set Class
next:
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		for _, c := range classNames {
			if c.name == name {
				set |= c.bit
				continue next
			}
		}
		if name == "" {
			return 0, fmt.Errorf("empty class name in %q (to Asterisk this means every right)", list)
		}
		return 0, fmt.Errorf("unknown class %q", name)
	}
	return set, nil
}

// String is the text of a Privilege header: every class that shares a bit with
// the set, in Asterisk's order and ending in "all", or "<none>"
// (manager.c: authority_to_str).
func (c Class) String() string {
	if c == 0 {
		return "<none>"
	}
	var b strings.Builder
	for _, n := range classNames {
		if c&n.bit != 0 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(n.name)
		}
	}
	return b.String()
}

// ParsePrivilege is the class that the value of a Privilege header stands for.
// The closing "all" that Asterisk adds to every list means nothing and is left
// out; a class we do not know, "all" on its own, or no class at all make it
// [ClassAll], so that what cannot be judged is seen only by those who may see
// everything. The spelling of names is compared without case, since a few
// producers write "Call".
func ParsePrivilege(value []byte) Class {
	if string(value) == "<none>" {
		return ClassNone
	}
	var set Class
	for len(value) > 0 {
		name := value
		value = nil
		for i, b := range name {
			if b == ',' {
				name, value = name[:i], name[i+1:]
				break
			}
		}
		bit, ok := classOf(name)
		if !ok {
			return ClassAll
		}
		set |= bit
	}
	if set == 0 {
		return ClassAll
	}
	return set
}

// classOf finds one name of a Privilege header. "all" counts as known and adds
// nothing.
func classOf(name []byte) (Class, bool) {
	for i := range classNames {
		if EqualFold(name, classNames[i].name) {
			if classNames[i].bit == ClassAll {
				return 0, true
			}
			return classNames[i].bit, classNames[i].bit != 0
		}
	}
	return 0, false
}

// ParseEventMask reads the EventMask of an Events action, or the Events header
// of a Login, as Asterisk does (manager.c: strings_to_mask, get_perm), its
// quirks included: digits are a raw bit mask, yes and no words are everything
// and nothing, and in a list of class names every name but the last matches
// each class that it is a prefix of. Unknown names count for nothing.
// A negative result means that the text is no mask. It is a wish only: what a
// session gets is limited by its read classes.
func ParseEventMask(text string) int32 {
	if text == "" {
		return -1
	}
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			n = math.MaxInt64 // strtol saturates, atoi keeps the low half
		}
		return int32(n)
	}
	if on, ok := ParseBool(text); ok {
		if on {
			return int32(ClassAll)
		}
		return 0
	}
	var set Class
	for _, c := range classNames {
		if inList(text, c.name) {
			set |= c.bit
		}
	}
	return int32(set)
}

// inList is main/manager.c: ast_instring with a comma.
func inList(list, name string) bool {
	for list != "" {
		token, rest, more := strings.Cut(list, ",")
		if !more {
			return token == name
		}
		if strings.HasPrefix(name, token) {
			return true
		}
		list = rest
	}
	return false
}

// ParseBool reads a truth value with the words of Asterisk's ast_true and
// ast_false, without regard to case; ok is false for any other text.
func ParseBool(text string) (value, ok bool) {
	switch strings.ToLower(text) {
	case "yes", "true", "y", "t", "1", "on":
		return true, true
	case "no", "false", "n", "f", "0", "off":
		return false, true
	}
	return false, false
}

// EqualFold compares two texts as Asterisk does names: ASCII letters without case. It
// does not allocate.
func EqualFold[A, B []byte | string](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && FoldByte(a[i]) != FoldByte(b[i]) {
			return false
		}
	}
	return true
}

// FoldByte is a byte with ASCII letters in lower case.
func FoldByte(b byte) byte {
	if 'A' <= b && b <= 'Z' {
		return b + 'a' - 'A'
	}
	return b
}
