package ami

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseClasses(t *testing.T) {
	tests := []struct {
		list string
		want Class
	}{
		{"", ClassNone},
		{"  ", ClassNone},
		{"none", ClassNone},
		{"system", ClassSystem},
		{"system,call", ClassSystem | ClassCall},
		{" system ,\tcall ", ClassSystem | ClassCall},
		{"call,call", ClassCall},
		{"none,system", ClassSystem},
		{"all", ClassAll},
		{"system,all", ClassAll},
		{"all,none", ClassAll},
		{"system,call,log,verbose,command,agent,user,config,dtmf,reporting,cdr,dialplan,originate,agi,cc,aoc,test,security,message",
			0x4007bfff},
	}
	for _, test := range tests {
		if got, err := ParseClasses(test.list); err != nil || got != test.want {
			t.Errorf("%q: %v, %v", test.list, got, err)
		}
	}
	for list, want := range map[string]string{
		",call":        `empty class name in ",call" (to Asterisk this means every right)`,
		"system,,call": `empty class name in "system,,call" (to Asterisk this means every right)`,
		"call,":        `empty class name in "call," (to Asterisk this means every right)`,
		"c,user":       `unknown class "c"`,
		"System":       `unknown class "System"`,
		"systems":      `unknown class "systems"`,
		"-1":           `unknown class "-1"`,
		"all;":         `unknown class "all;"`,
		"system call":  `unknown class "system call"`,
		"hookresponse": `unknown class "hookresponse"`,
	} {
		if got, err := ParseClasses(list); err == nil || err.Error() != want || got != 0 {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
}

func TestParsePrivilege(t *testing.T) {
	for value, want := range map[string]Class{
		"call,all":         ClassCall,
		"system,user,all":  ClassSystem | ClassUser,
		"Call":             ClassCall, // of Status items
		"System":           ClassSystem,
		"reporting":        ClassReporting,
		"<none>":           ClassNone,
		"message,all":      ClassMessage,
		"":                 ClassAll,
		"all":              ClassAll,
		"none":             ClassAll,
		"call,foo,all":     ClassAll,
		"call, all":        ClassAll,
		"call,":            ClassCall, // nothing behind the last comma
		",call":            ClassAll,
		"call,,all":        ClassAll,
		"<none>,all":       ClassAll,
		"hookresponse,all": ClassAll,
		"cal,all":          ClassAll,
	} {
		if got := ParsePrivilege([]byte(value)); got != want {
			t.Errorf("%q: %v (%#x), want %v", value, got, uint32(got), want)
		}
	}
}

func TestClassString(t *testing.T) {
	for class, want := range map[Class]string{
		ClassNone:                         "<none>",
		ClassCall:                         "call,all",
		ClassUser | ClassSystem:           "system,user,all",
		ClassMessage | ClassCC | ClassAGI: "agi,cc,message,all",
		1 << 14:                           "all",
		1 << 31:                           "",
		ClassAll: "system,call,log,verbose,command,agent,user,config,dtmf,reporting,cdr,dialplan," +
			"originate,agi,cc,aoc,test,security,message,all",
	} {
		if got := class.String(); got != want {
			t.Errorf("%#x: %q, want %q", uint32(class), got, want)
		}
	}
}

// The text of a Privilege header says which class it was, and for named
// classes the list of a user section does too.
func TestClassRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var class Class
		for _, c := range classNames[:19] {
			if rapid.Bool().Draw(t, c.name) {
				class |= c.bit
			}
		}
		text := class.String()
		if got := ParsePrivilege([]byte(text)); got != class {
			t.Fatalf("%q: %v", text, got)
		}
		if class == 0 {
			return
		}
		list := strings.TrimSuffix(text, ",all")
		if got, err := ParseClasses(list); err != nil || got != class {
			t.Fatalf("%q: %v, %v", list, got, err)
		}
		if got := ParseEventMask(list); Class(got) != class {
			t.Fatalf("mask %q: %v", list, got)
		}
	})
}

func TestParseEventMask(t *testing.T) {
	const all = math.MaxInt32
	for text, want := range map[string]int32{
		"": -1,
		// Digits are a bit mask of 32 bits, and come before the words.
		"0": 0, "1": 1, "00": 0, "2": 2, "010": 10, "2147483647": all,
		"2147483648": math.MinInt32, "4294967295": -1, "4294967296": 0, "4294967298": 2,
		"9223372036854775807": -1, "99999999999999999999": -1,
		// Words, in any case.
		"off": 0, "no": 0, "false": 0, "f": 0, "N": 0, "OFF": 0,
		"on": all, "Yes": all, "true": all, "T": all, "y": all,
		// Lists of classes, case-sensitive, unknown names for nothing.
		"call": 2, "call,agent": 34, "all": all, "call,all": all, "none": 0, "none,system": 1,
		"CALL": 0, "-1": 0, "foo": 0, "foo,call": 2, "call,foo": 2, "system, call": 1, " on": 0,
		"on,call": 2, "1,call": 2,
		// A name that is not last matches every class that it begins.
		"c,user":     int32(ClassCall | ClassCommand | ClassConfig | ClassCDR | ClassCC | ClassUser),
		"a,user":     all,
		"user,c":     int32(ClassUser),
		"cal,foo":    int32(ClassCall),
		"callx,foo":  0,
		",call":      all,
		"foo,,user":  all,
		"call,":      int32(ClassCall),
		"c,":         int32(ClassCall | ClassCommand | ClassConfig | ClassCDR | ClassCC),
		",":          all,
		"n,foo":      0,
		"system,al":  int32(ClassSystem),
		"hookres,on": 0,
	} {
		if got := ParseEventMask(text); got != want {
			t.Errorf("%q: %#x, want %#x", text, uint32(got), uint32(want))
		}
	}
}

func TestParseBool(t *testing.T) {
	for _, word := range []string{"yes", "true", "y", "t", "1", "on", "YES", "On"} {
		if value, ok := ParseBool(word); !value || !ok {
			t.Errorf("%q: %v, %v", word, value, ok)
		}
	}
	for _, word := range []string{"no", "false", "n", "f", "0", "off", "No", "OFF"} {
		if value, ok := ParseBool(word); value || !ok {
			t.Errorf("%q: %v, %v", word, value, ok)
		}
	}
	for _, word := range []string{"", " yes", "yes ", "2", "01", "maybe", "none", "İ"} {
		if _, ok := ParseBool(word); ok {
			t.Errorf("%q is one", word)
		}
	}
}
