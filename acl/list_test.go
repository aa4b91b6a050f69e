package acl

import (
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// line is a deny or permit line of a user section.
type line struct {
	permit bool
	value  string
}

func deny(value string) line   { return line{false, value} }
func permit(value string) line { return line{true, value} }

func newList(t testing.TB, lines ...line) *List {
	t.Helper()
	l := &List{}
	for _, line := range lines {
		if err := l.Add(line.permit, line.value); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func TestListAllows(t *testing.T) {
	whitelist := []line{deny("0.0.0.0/0.0.0.0"), permit("192.168.0.90/255.255.255.0")}
	tests := []struct {
		name    string
		lines   []line
		allowed string // addresses, separated by blanks
		denied  string
	}{
		{"no rule", nil, "10.0.0.1 ::1", ""},
		{"whitelist", whitelist, "192.168.0.1 192.168.0.255", "192.168.1.1 10.0.0.1"},
		{"an IPv4 rule is not for IPv6", whitelist, "::1 2001:db8::1", ""},
		{"an IPv4 rule is for mapped addresses", whitelist, "::ffff:192.168.0.1", "::ffff:10.0.0.1"},
		{"an IPv6 rule is not for IPv4", []line{deny("::/0")},
			"10.0.0.1 ::ffff:10.0.0.1", "::1 fe80::1%eth0"},
		{"a mapped rule is an IPv4 rule", []line{deny("::ffff:10.0.0.0/8")},
			"::1 11.0.0.1", "10.1.2.3 ::ffff:10.1.2.3"},
		{"a mapped mask is an IPv4 mask", []line{deny("10.0.0.0/::ffff:255.0.0.0")}, "11.0.0.1", "10.1.2.3"},
		{"the last match wins, not the longest", []line{
			permit("10.0.0.0/8"), deny("10.1.0.0/16"), permit("10.0.0.0/9")},
			"10.1.0.1 10.200.0.1", ""},
		{"the last match wins, deny last", []line{permit("10.1.1.1"), deny("10.0.0.0/8")}, "11.0.0.1", "10.1.1.1"},
		{"no mask is one address", []line{deny("10.0.0.1,2001:db8::1")},
			"10.0.0.0 10.0.0.2 2001:db8::", "10.0.0.1 2001:db8::1"},
		{"items of a line are in order", []line{deny("0.0.0.0/0,!10.0.0.0/8,10.1.0.0/16")},
			"10.0.0.1", "10.1.0.1 11.0.0.1"},
		{"an inverted permit denies", []line{permit("!10.0.0.1")}, "10.0.0.2", "10.0.0.1"},
		{"host bits are masked", []line{deny("10.1.2.3/8")}, "11.1.2.3", "10.9.9.9"},
		{"a mask with holes", []line{deny("10.0.7.0/255.0.255.0")}, "10.9.8.1", "10.9.7.1 10.0.7.200"},
		{"mask 0 and full masks", []line{deny("1.2.3.4/0"), permit("5.6.7.8/32"), deny("::1/128")},
			"5.6.7.8 ::2", "1.1.1.1 ::1"},
		{"IPv6 prefix", []line{deny("2001:db8:8000::/33")},
			"2001:db8:7fff::1", "2001:db8:8000::1 2001:db8:ffff::"},
		{"IPv6 mask", []line{deny("2001:db8::/ffff:ffff::")}, "2001:db9::", "2001:db8:1::"},
		{"brackets", []line{deny("[2001:db8::1]"), deny("[2001:db9::]/32")},
			"2001:db8::2", "2001:db8::1 2001:db9::7"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := newList(t, test.lines...)
			for _, s := range strings.Fields(test.allowed) {
				if !l.Allows(netip.MustParseAddr(s)) {
					t.Errorf("%s is denied", s)
				}
			}
			for _, s := range strings.Fields(test.denied) {
				if l.Allows(netip.MustParseAddr(s)) {
					t.Errorf("%s is allowed", s)
				}
			}
		})
	}
}

// What is no address, as the peer of a socket that is not TCP, passes no rule.
func TestListInvalidAddress(t *testing.T) {
	if !(&List{}).Allows(netip.Addr{}) {
		t.Error("no rules: denied")
	}
	if newList(t, permit("0.0.0.0/0,::/0")).Allows(netip.Addr{}) {
		t.Error("with rules: allowed")
	}
}

func TestDenyAll(t *testing.T) {
	l := DenyAll()
	if err := l.Add(true, "0.0.0.0/0,::/0"); err != nil {
		t.Fatal(err)
	}
	for _, addr := range []netip.Addr{{}, netip.IPv4Unspecified(), netip.IPv6LinkLocalAllNodes()} {
		if l.Allows(addr) {
			t.Errorf("%v is allowed", addr)
		}
	}
}

func TestListAddErrors(t *testing.T) {
	tests := []struct{ value, want string }{
		{"", `"": the address is missing`},
		{"!", `"!": the address is missing`},
		{"/8", `"/8": the address is missing`},
		{"[]", `"[]": the address is missing`},
		{"10.0.0.1,", `"": the address is missing`},
		{"10.0.0.1,,10.0.0.2", `"": the address is missing`},
		{"10.0.0.1, 10.0.0.2", `" 10.0.0.2": " 10.0.0.2" is no IP address`},
		{"localhost", `"localhost": "localhost" is no IP address`},
		{"!!10.0.0.1", `"!!10.0.0.1": "!10.0.0.1" is no IP address`},
		{"10.0.0.1:5038", `"10.0.0.1:5038": "10.0.0.1:5038" is no IP address`},
		{"[::1]:5038", `"[::1]:5038": "[::1]:5038" is no IP address`},
		{"10.1", `"10.1": "10.1" is no IP address`},
		{"10.0.0.010", `"10.0.0.010": "10.0.0.010" is no IP address`},
		{"fe80::1%eth0", `"fe80::1%eth0": "fe80::1%eth0" has a zone`},
		{"10.0.0.0/", `"10.0.0.0/": bad mask "": not a number from 0 to 32`},
		{"10.0.0.0/33", `"10.0.0.0/33": bad mask "33": not a number from 0 to 32`},
		{"10.0.0.0/-1", `"10.0.0.0/-1": bad mask "-1": not a number from 0 to 32`},
		{"10.0.0.0/8/8", `"10.0.0.0/8/8": bad mask "8/8": not a number from 0 to 32`},
		{"10.0.0.0/99999999999999999999", `"10.0.0.0/99999999999999999999": bad mask "99999999999999999999": not a number from 0 to 32`},
		{"::/129", `"::/129": bad mask "129": not a number from 0 to 128`},
		{"::ffff:10.0.0.0/104", `"::ffff:10.0.0.0/104": bad mask "104": not a number from 0 to 32`},
		{"10.0.0.0/255.0.0", `"10.0.0.0/255.0.0": bad mask: "255.0.0" is no IP address`},
		{"10.0.0.0/ffff::", `"10.0.0.0/ffff::": address and mask are of different families`},
		{"::/255.0.0.0", `"::/255.0.0.0": address and mask are of different families`},
	}
	for _, test := range tests {
		l := &List{}
		err := l.Add(true, test.value)
		if err == nil {
			t.Errorf("Add(%q) succeeds", test.value)
		} else if err.Error() != test.want {
			t.Errorf("Add(%q):\n got %s\nwant %s", test.value, err, test.want)
		}
		if len(l.rules) != 0 {
			t.Errorf("Add(%q) fails and adds %d rules", test.value, len(l.rules))
		}
	}
}

// naiveAllows is a second reading of the semantics, on strings of bits.
func naiveAllows(lines []line, addr netip.Addr) bool {
	bits := func(a netip.Addr) string {
		var b strings.Builder
		for _, c := range a.Unmap().AsSlice() {
			for i := 7; i >= 0; i-- {
				b.WriteByte('0' + c>>i&1)
			}
		}
		return b.String()
	}
	verdict := true
	for _, line := range lines {
		for _, item := range strings.Split(line.value, ",") {
			sense := line.permit
			if item[0] == '!' {
				sense, item = !sense, item[1:]
			}
			network, prefix, _ := strings.Cut(item, "/")
			want := bits(netip.MustParseAddr(network))
			mask := strings.Repeat("1", len(want))
			if strings.ContainsAny(prefix, ".:") {
				mask = bits(netip.MustParseAddr(prefix))
			} else if prefix != "" {
				p := netip.MustParsePrefix(netip.MustParseAddr(network).Unmap().String() + "/" + prefix)
				mask = strings.Repeat("1", p.Bits()) + strings.Repeat("0", len(want)-p.Bits())
			}
			got := bits(addr)
			matches := len(got) == len(want)
			for i := 0; matches && i < len(got); i++ {
				matches = mask[i] == '0' || got[i] == want[i]
			}
			if matches {
				verdict = sense
			}
		}
	}
	return verdict
}

// Few distinct bytes, so that rules and addresses often meet.
var (
	someIPv4 = rapid.Custom(func(t *rapid.T) netip.Addr {
		var b [4]byte
		for i := range b {
			b[i] = rapid.SampledFrom([]byte{0, 1, 10, 127, 128, 255}).Draw(t, "byte")
		}
		return netip.AddrFrom4(b)
	})
	someIPv6 = rapid.Custom(func(t *rapid.T) netip.Addr {
		var b [16]byte
		for i := range b {
			b[i] = rapid.SampledFrom([]byte{0, 0, 0, 1, 0x20, 0xff}).Draw(t, "byte")
		}
		return netip.AddrFrom16(b)
	})
	someAddr = rapid.Custom(func(t *rapid.T) netip.Addr {
		switch rapid.IntRange(0, 2).Draw(t, "family") {
		case 0:
			return someIPv4.Draw(t, "address")
		case 1:
			return netip.AddrFrom16(someIPv4.Draw(t, "address").As16())
		}
		return someIPv6.Draw(t, "address")
	})
	someItem = rapid.Custom(func(t *rapid.T) string {
		addr := someAddr.Draw(t, "network")
		item := rapid.SampledFrom([]string{"", "!"}).Draw(t, "sense") + addr.String()
		switch rapid.IntRange(0, 3).Draw(t, "mask") {
		case 0:
			return item
		case 1:
			if addr.Unmap().Is4() {
				return item + "/" + someIPv4.Draw(t, "mask").String()
			}
			// A mask that is mapped would be an IPv4 one.
			return item + "/" + someIPv6.Filter(func(a netip.Addr) bool { return !a.Is4In6() }).Draw(t, "mask").String()
		}
		bits := rapid.IntRange(0, addr.Unmap().BitLen()).Draw(t, "bits")
		_, prefix, _ := strings.Cut(netip.PrefixFrom(addr.Unmap(), bits).String(), "/")
		return item + "/" + prefix
	})
	someLine = rapid.Custom(func(t *rapid.T) line {
		items := rapid.SliceOfN(someItem, 1, 3).Draw(t, "items")
		return line{rapid.Bool().Draw(t, "permit"), strings.Join(items, ",")}
	})
)

func TestListModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		lines := rapid.SliceOfN(someLine, 0, 5).Draw(rt, "lines")
		l := newList(t, lines...)
		for range 8 {
			addr := someAddr.Draw(rt, "peer")
			if got, want := l.Allows(addr), naiveAllows(lines, addr); got != want {
				rt.Fatalf("Allows(%v) = %v, want %v", addr, got, want)
			}
		}
	})
}

func FuzzListAdd(f *testing.F) {
	for _, seed := range []string{
		"10.0.0.0/8", "!10.0.0.1,::1", "[::1]/64", "::ffff:1.2.3.4/24",
		"1.2.3.4/255.0.255.0", "::/ffff::", "", ",", "/", "1.2.3.4/33", "fe80::1%x",
	} {
		f.Add(seed)
	}
	peers := []netip.Addr{
		netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("::ffff:1.2.3.4"),
		netip.MustParseAddr("::1"), netip.MustParseAddr("fe80::1"),
	}
	f.Fuzz(func(t *testing.T, value string) {
		denied, allowed := newList(t, permit("10.0.0.0/8")), newList(t, deny("0.0.0.0/0,::/0"))
		before := len(denied.rules)
		err := denied.Add(false, value)
		if (allowed.Add(true, value) == nil) != (err == nil) {
			t.Fatal("deny and permit do not read alike")
		}
		added := len(denied.rules) - before
		if err != nil {
			if added != 0 {
				t.Fatal("an error, and rules were added")
			}
			return
		}
		if added != strings.Count(value, ",")+1 {
			t.Fatalf("%d rules from %q", added, value)
		}
		// One starts with everybody and takes away what the other gives.
		for _, peer := range peers {
			if denied.Allows(peer) == allowed.Allows(peer) {
				t.Errorf("deny and permit of %q agree on %v", value, peer)
			}
		}
	})
}
