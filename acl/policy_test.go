package acl

import (
	"bytes"
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"pgregory.net/rapid"

	"github.com/amiproxy/amiproxy/ami"
)

func TestPolicyAccessors(t *testing.T) {
	p := New(Options{Name: "Crm", Secret: "x", Read: ami.ClassCall, Write: ami.ClassSystem})
	if p.Name() != "Crm" || p.Read() != ami.ClassCall || p.Write() != ami.ClassSystem || !p.HasSecret() {
		t.Errorf("name %q, read %v, write %v, secret %v", p.Name(), p.Read(), p.Write(), p.HasSecret())
	}
}

func TestAdmitsNeedsEveryList(t *testing.T) {
	ten := newList(t, deny("0.0.0.0/0"), permit("10.0.0.0/8"))
	odd := newList(t, deny("10.0.0.2"))
	tests := []struct {
		name  string
		lists []*List
		addr  string
		want  bool
	}{
		{"no list", nil, "11.0.0.1", true},
		{"both allow", []*List{ten, odd}, "10.0.0.1", true},
		{"the first denies", []*List{ten, odd}, "11.0.0.1", false},
		{"the second denies", []*List{ten, odd}, "10.0.0.2", false},
		{"empty list", []*List{{}}, "10.0.0.2", true},
		{"missing list", []*List{ten, nil}, "10.0.0.1", false},
		{"deny all", []*List{ten, DenyAll()}, "10.0.0.1", false},
	}
	for _, test := range tests {
		if got := New(Options{Lists: test.lists}).Admits(netip.MustParseAddr(test.addr)); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A policy is immutable, even when a list it was made from is not.
func TestNewCopiesLists(t *testing.T) {
	l := newList(t, permit("10.0.0.1"))
	l.rules = append(make([]rule, 0, 8), l.rules...)
	p := New(Options{Lists: []*List{l}})
	if err := l.Add(false, "0.0.0.0/0"); err != nil {
		t.Fatal(err)
	}
	if !p.Admits(netip.MustParseAddr("10.0.0.1")) {
		t.Error("a rule added later counts")
	}
}

func TestCheckSecret(t *testing.T) {
	tests := []struct {
		name   string
		o      Options
		secret string
		want   bool
	}{
		{"right", Options{Secret: "s3cret"}, "s3cret", true},
		{"wrong", Options{Secret: "s3cret"}, "s3creT", false},
		{"prefix", Options{Secret: "s3cret"}, "s3cre", false},
		{"longer", Options{Secret: "s3cret"}, "s3cret ", false},
		{"missing", Options{Secret: "s3cret"}, "", false},
		{"none and none", Options{}, "", false},
		{"none and some", Options{}, "x", false},
	}
	for _, test := range tests {
		if got := New(test.o).CheckSecret(test.secret); (got == Matches) != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestCheckKey(t *testing.T) {
	const (
		challenge = "012345678"
		right     = "a4a5d61edf3a0797cd5085a908388d46" // printf 012345678s3cret | md5sum
		key       = "8a4fa3b43ed1d9da21d3a56e3b1f0cd7"
	)
	tests := []struct {
		name           string
		o              Options
		challenge, key string
		want           bool
	}{
		{"right", Options{Secret: "s3cret"}, challenge, right, true},
		{"wrong", Options{Secret: "s3cret"}, challenge, key, false},
		{"upper case", Options{Secret: "s3cret"}, challenge, strings.ToUpper(right), false},
		{"short", Options{Secret: "s3cret"}, challenge, right[:31], false},
		{"long", Options{Secret: "s3cret"}, challenge, right + "0", false},
		{"no key", Options{Secret: "s3cret"}, challenge, "", false},
		{"no challenge", Options{Secret: "s3cret"}, "", keyOf("", "s3cret"), false},
		{"neither", Options{Secret: "s3cret"}, "", "", false},
		{"other challenge", Options{Secret: "s3cret"}, "9", right, false},
		{"the plain secret", Options{Secret: "s3cret"}, challenge, "s3cret", false},
		{"no secret", Options{}, challenge, keyOf(challenge, ""), false},
	}
	for _, test := range tests {
		if got := New(test.o).CheckKey(test.challenge, test.key); (got == Matches) != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func keyOf(challenge, secret string) string {
	sum := md5.Sum([]byte(challenge + secret))
	return hex.EncodeToString(sum[:])
}

func TestNobody(t *testing.T) {
	p := Nobody()
	if p.Admits(netip.MustParseAddr("127.0.0.1")) || p.CheckSecret("") != NoMatch || p.CheckSecret("x") != NoMatch ||
		p.CheckKey("1", keyOf("1", "")) != NoMatch || p.HasSecret() || p.Read() != 0 || p.Write() != 0 {
		t.Error("somebody")
	}
	if p.Sees(ami.ClassAll, ami.ClassNone) {
		t.Error("nobody sees an event")
	}
}

func TestSees(t *testing.T) {
	p := New(Options{Read: ami.ClassCall | ami.ClassSystem | ami.ClassUser})
	all := New(Options{Read: ami.ClassAll})
	tests := []struct {
		name        string
		p           *Policy
		mask, class ami.Class
		want        bool
	}{
		{"in the mask", p, ami.ClassCall, ami.ClassCall, true},
		{"not in the mask", p, ami.ClassSystem, ami.ClassCall, false},
		{"two classes, both", p, ami.ClassSystem | ami.ClassUser, ami.ClassSystem | ami.ClassUser, true},
		{"two classes, one", p, ami.ClassSystem, ami.ClassSystem | ami.ClassUser, false},
		{"mask beyond read", p, ami.ClassAll, ami.ClassDTMF, false},
		{"events off", p, 0, ami.ClassCall, false},
		{"no class", p, ami.ClassUser, ami.ClassNone, true},
		{"no class, events off", p, 0, ami.ClassNone, false},
		{"no class, mask beyond read", p, ami.ClassDTMF, ami.ClassNone, false},
		{"unknown class", p, ami.ClassAll, ami.ClassAll, false},
		{"unknown class, all rights", all, ami.ClassAll, ami.ClassAll, true},
		{"unknown class, part of the mask", all, ami.ClassAll &^ ami.ClassCall, ami.ClassAll, false},
	}
	for _, test := range tests {
		if got := test.p.Sees(test.mask, test.class); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

func TestSeesModel(t *testing.T) {
	someClass := rapid.Custom(func(t *rapid.T) ami.Class {
		return ami.Class(rapid.Uint32().Draw(t, "class")) & ami.ClassAll
	})
	rapid.Check(t, func(t *rapid.T) {
		read, mask, class := someClass.Draw(t, "read"), someClass.Draw(t, "mask"), someClass.Draw(t, "class")
		want := mask&read != 0
		for bit := range 32 {
			one := ami.Class(1) << bit
			want = want && (class&one == 0 || mask&one != 0 && read&one != 0)
		}
		if got := New(Options{Read: read}).Sees(mask, class); got != want {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

// holder is how a careless caller might keep a policy.
type holder struct {
	Options Options
	Policy  *Policy
	value   Policy
}

func TestSecretIsNeverPrinted(t *testing.T) {
	const secret = "hunter2-correct-horse"
	o := Options{Name: "crm", Secret: secret}
	p := New(o)
	values := map[string]any{
		"Options": o, "*Options": &o, "Policy": *p, "*Policy": p,
		"[]Options": []Options{o}, "map": map[string]*Policy{"crm": p},
		"holder": holder{o, p, *p}, "*holder": &holder{o, p, *p},
	}
	for name, v := range values {
		var outs []string
		for _, verb := range []string{"v", "+v", "#v", "s", "q", "x", "X", "d", "80v", "T"} {
			outs = append(outs, fmt.Sprintf("%"+verb, v))
		}
		outs = append(outs, fmt.Sprint(v), fmt.Sprintln(v), fmt.Errorf("user: %v", v).Error())
		if b, err := json.Marshal(v); err != nil {
			t.Errorf("%s: %v", name, err)
		} else {
			outs = append(outs, string(b))
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "user", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "user", v)
		for _, encoder := range []zapcore.Encoder{
			zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig()),
			zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()),
		} {
			logger := zap.New(zapcore.NewCore(encoder, zapcore.AddSync(&log), zap.DebugLevel))
			logger.Info("x", zap.Any("user", v), zap.Reflect("again", v))
			logger.Sugar().Infow("x", "user", v)
		}
		outs = append(outs, log.String())
		for _, out := range outs {
			if leaks(out, secret) {
				t.Errorf("%s: the secret is in %s", name, out)
			}
		}
	}
}

// leaks finds a secret in plain, hexadecimal and base64.
func leaks(out, secret string) bool {
	hexed := hex.EncodeToString([]byte(secret))
	encoded, _ := json.Marshal([]byte(secret))
	for _, form := range []string{secret, hexed, strings.Trim(string(encoded), `"=`)} {
		if strings.Contains(strings.ToLower(out), strings.ToLower(form)) {
			return true
		}
	}
	return false
}

func TestStrings(t *testing.T) {
	o := Options{Name: "crm", Secret: "x", Read: ami.ClassCall, Write: ami.ClassNone}
	const want = `user "crm": read call,all, write <none>`
	for _, got := range []string{o.String(), New(o).String(), fmt.Sprintf("%#v", o), fmt.Sprintf("%d", New(o))} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	p := New(Options{
		Lists: []*List{newList(t, deny("0.0.0.0/0,::/0"), permit("10.0.0.0/8,2001:db8::/32"))},
		Read:  ami.ClassAll, Write: ami.ClassOriginate | ami.ClassReporting, Hardening: true,
	})
	addr := netip.MustParseAddr("10.1.2.3")
	actions := map[string]*ami.Action{
		"QueueStatus": ami.NewAction("Action: QueueStatus", "ActionID: 1", "Queue: support"),
		"Originate": ami.NewAction("Action: Originate", "ActionID: 1", "Channel: PJSIP/100",
			"Application: Queue", "Data: support,,,,30"),
		"Status": ami.NewAction("Action: Status", "Variables: CALLERID(num),FOO"),
	}
	check := func(name string, f func() bool) {
		t.Helper()
		if !f() {
			t.Errorf("%s: refused", name)
		}
		if n := testing.AllocsPerRun(100, func() { f() }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
	check("Admits", func() bool { return p.Admits(addr) })
	check("Sees", func() bool { return p.Sees(ami.ClassCall, ami.ClassCall) })
	check("MayList", func() bool { return p.MayList("PJSIPShowRegistrationsOutbound", ami.ClassReporting) })
	for name, a := range actions {
		check("May "+name, func() bool {
			return p.May(a, ami.ClassOriginate|ami.ClassReporting, debian).Refusal == ""
		})
	}
}

func BenchmarkMay(b *testing.B) {
	p := New(Options{Write: ami.ClassOriginate, Hardening: true})
	a := ami.NewAction("Action: Originate", "ActionID: 1", "Channel: PJSIP/100",
		"Application: Queue", "Data: support,,,,30")
	b.ReportAllocs()
	for b.Loop() {
		if p.May(a, ami.ClassOriginate, debian).Refusal != "" {
			b.Fatal("refused")
		}
	}
}
