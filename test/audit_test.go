//go:build unix

package test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/amiproxy/amiproxy/test/amiclient"
	"github.com/amiproxy/amiproxy/test/asterisk"
)

// auditRecord is a line of the audit log, as far as it is looked at here.
type auditRecord struct {
	Event, User, PBX, Action, Verdict, Rule, Response, Message, ID, UpstreamID string
	Headers                                                                    map[string]string
	Latency                                                                    float64
}

// TestAuditOfRealActions: what the audit log says of an action is what Asterisk has
// answered, under the ActionID by which Asterisk knows it.
func TestAuditOfRealActions(t *testing.T) {
	for _, major := range []int{16, 22} {
		t.Run(fmt.Sprint(major), func(t *testing.T) {
			t.Parallel()
			pbx := asterisk.Start(t, asterisk.Options{Major: major, Name: "east"})
			name := filepath.Join(t.TempDir(), "audit.log")
			p := startProxy(t, "[general]\naudit = "+name+"\n[crm]\nsecret = pw\nread = call\nwrite = call,originate\n", pbx)
			p.waitUp()
			direct := loginDirect(t, pbx, "Events: on")
			c := p.login(t, "crm")
			c.Do("Action: Originate", "Channel: Local/short@default", "Application: Wait", "Data: 1", "Async: true", "ActionID: call", "Variable: PIN=nobody-sees")
			seen := amiclient.Header(direct.Expect("Event: OriginateResponse", "Response: Success"), "ActionID")
			c.Do("Action: Hangup", "Channel: SIP/none-1", "ActionID: hangup")
			c.Do("Action: Command", "Command: core stop now", "ActionID: stop")
			c.Do("Action: Originate", "Channel: Local/short@default", "Application: System", "Data: id", "ActionID: shell")
			c.Do("Action: Originate", "Channel: Local/short@nowhere", "Application: Wait", "Timeout: 2000", "ActionID: fails")
			p.Shutdown(stopLimit)

			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(text), "nobody-sees") {
				t.Errorf("a value is in the audit log: %s", text)
			}
			records := map[string]auditRecord{}
			for line := range strings.Lines(string(text)) {
				var r auditRecord
				if err := json.Unmarshal([]byte(line), &r); err != nil {
					t.Fatalf("%q: %v", line, err)
				}
				records[r.Event+r.ID] = r
			}
			if len(records) != 7 {
				t.Errorf("%d records: %s", len(records), text)
			}
			call := records["actioncall"]
			if call.UpstreamID != seen || call.Message != "Originate successfully queued" || call.Headers["Variable"] != "PIN" || call.PBX != "east" || call.User != "crm" {
				t.Errorf("Asterisk knows the call by %s: %+v", seen, call)
			}
			for id, want := range map[string][3]string{
				"hangup": {"allowed", "Error", "No such channel"},
				"stop":   {"refused", "Error", "Permission denied"},
				"shell":  {"refused", "Error", "Originate Access Forbidden: app or data blacklisted"},
				"fails":  {"allowed", "Error", "Originate failed"},
			} {
				r := records["action"+id]
				if r.Verdict != want[0] || r.Response != want[1] || r.Message != want[2] || (r.Verdict == "allowed") != (r.UpstreamID != "" && r.Latency > 0) || r.Rule == "" {
					t.Errorf("%s: %+v", id, r)
				}
			}
			if records["login"].Verdict != "allowed" || records["end"].User != "crm" {
				t.Errorf("%s", text)
			}
		})
	}
}
