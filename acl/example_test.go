package acl_test

import (
	"fmt"
	"net/netip"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
)

func ExampleList() {
	l := &acl.List{}
	l.Add(false, "0.0.0.0/0,::/0")
	l.Add(true, "192.168.0.0/255.255.255.0,!192.168.0.13")
	for _, s := range []string{"192.168.0.12", "192.168.0.13", "10.0.0.1"} {
		fmt.Println(s, l.Allows(netip.MustParseAddr(s)))
	}
	fmt.Println(l.Add(true, "10.0.0.0/33"))
	// Output:
	// 192.168.0.12 true
	// 192.168.0.13 false
	// 10.0.0.1 false
	// "10.0.0.0/33": bad mask "33": not a number from 0 to 32
}

func ExamplePolicy_May() {
	p := acl.New(acl.Options{
		Name: "crm", Secret: "s3cret", Write: ami.ClassOriginate, Hardening: true,
	})
	for _, lines := range [][]string{
		{"Action: Originate", "Channel: PJSIP/100", "Application: Playback", "Data: hello"},
		{"Action: Originate", "Channel: PJSIP/100", "Application: System", "Data: id"},
		{"Action: QueueReset", "Queue: support"},
	} {
		a := ami.NewAction(lines...)
		info, _ := ami.LookupAction(a.Name()) // or what the PBX says of it
		v := p.May(a, info.Classes, acl.Directories{Config: "/etc/asterisk"})
		fmt.Printf("%q %s\n", v.Refusal, v.Reason)
	}
	// Output:
	// "" write
	// "Originate Access Forbidden: app or data blacklisted" write: needs system (agi for an AGI of Queue) for this Application or Data
	// "Permission denied" write: needs agent
}
