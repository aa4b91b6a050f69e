package simpbx

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

func TestOriginateAsync(t *testing.T) {
	inBubble(t, Options{SystemName: "pbx22"}, func(t *testing.T, p *PBX) {
		c := login(t, p, "call")
		other := login(t, p, "call").record()
		tp := c.record()
		f := tp.ask("Action: Originate", "ActionID: OR1", "Channel: Local/short@default", "Context: default",
			"Exten: short", "Priority: 1", "Async: true", "Variable: A=1,B=2", "Variable: C=3")
		tp.expect(f[0], "Response: Success|ActionID: OR1|Message: Originate successfully queued|")
		var order []string
		for _, e := range f[1:] {
			order = append(order, get(e, "Event"))
		}
		want := []string{"Newchannel", "Newchannel", "LocalBridge", "DialBegin", "Newstate", "Newstate", "DialEnd", "OriginateResponse"}
		if !slices.Equal(order, want) {
			t.Errorf("events %q", order)
		}
		tp.expect(f[1], "Event: Newchannel|Privilege: call,all|SystemName: pbx22|Channel: Local/short@default-00000000;1|"+
			"ChannelState: 0|ChannelStateDesc: Down|CallerIDNum: <unknown>|CallerIDName: <unknown>|"+
			"ConnectedLineNum: <unknown>|ConnectedLineName: <unknown>|Language: en|AccountCode: |Context: default|"+
			"Exten: short|Priority: 1|Uniqueid: pbx22-946684800.0|Linkedid: pbx22-946684800.0|")
		response := "Event: OriginateResponse|Privilege: call,all|SystemName: pbx22|ActionID: OR1|Response: Success|" +
			"Channel: Local/short@default-00000000;1|Context: default|Exten: short|Reason: 4|" +
			"Uniqueid: pbx22-946684800.0|CallerIDNum: <unknown>|CallerIDName: <unknown>|"
		tp.expect(f[len(f)-1], response)
		if r := named(other.take(), "OriginateResponse"); len(r) != 1 || r[0] != response {
			t.Errorf("the other session got %q", r)
		}
		time.Sleep(time.Minute)
		if ends := named(tp.take(), "Hangup"); len(ends) != 2 {
			t.Errorf("ends %q", ends)
		}
	})
}

func TestOriginateFailures(t *testing.T) {
	for channel, reason := range map[string]string{
		"Bogus/x": "0", "Local/nosuch@default": "0", "PJSIP/nobody": "0", "PJSIP/busy": "5", "PJSIP/noanswer": "3", "Local/busy@default": "5",
	} {
		inBubble(t, Options{}, func(t *testing.T, p *PBX) {
			tp := login(t, p, "call").record()
			tp.send("Action: Originate", "Channel: "+channel, "Application: NoOp", "Async: 1", "Timeout: 5000", "CallerID: Ann <12>")
			time.Sleep(10 * time.Second)
			frames := tp.take()
			tp.expect(frames[0], "Response: Success|Message: Originate successfully queued|")
			led := newLedger(t)
			led.add(frames[1:])
			if len(led.channels) != 0 {
				t.Errorf("%s: left %v", channel, led.channels)
			}
			r := named(frames, "OriginateResponse")
			if len(r) != 1 || get(r[0], "Response") != "Failure" || get(r[0], "Reason") != reason || get(r[0], "CallerIDName") != "Ann" {
				t.Errorf("%s: %q", channel, r)
			}

			tp.send("Action: Originate", "Channel: "+channel, "Application: NoOp", "Timeout: 5000", "ActionID: s")
			time.Sleep(10 * time.Second)
			tp.expect(tp.take()[0], "Response: Error|ActionID: s|Message: Originate failed|")
		})
	}
}

func TestOriginateSync(t *testing.T) {
	inBubble(t, Options{Ring: 2 * time.Second}, func(t *testing.T, p *PBX) {
		c := login(t, p, "call")
		begin := time.Now()
		go c.send("Action: Originate", "ActionID: s", "Channel: PJSIP/alice", "Context: default", "Exten: 101", "Priority: 1",
			"", "Action: Ping", "ActionID: after")
		c.expect(c.read(), "Response: Success|ActionID: s|Message: Originate successfully queued|")
		if d := time.Since(begin); d < time.Second {
			t.Errorf("answered after %v", d)
		}
		if f := c.read(); !strings.HasPrefix(f, "Event: Newchannel|") {
			t.Errorf("events of a blocked session come after its answer, got %s", f)
		}
		f := c.until("Response: Success|ActionID: after|Ping: Pong|")
		f = append(f, c.until("Event: BridgeCreate|")...)
		if d := named(f, "DialBegin"); len(d) != 2 || !strings.Contains(d[1], "|DestChannel: PJSIP/bob-") {
			t.Errorf("dialled %q", d)
		}
	})
}

func TestOriginateChecks(t *testing.T) {
	o := Options{Users: []User{{"u", "s", ami.ClassAll, ami.ClassOriginate}}}
	const forbidden = "Originate Access Forbidden: app or data blacklisted"
	tests := []struct{ want, lines string }{
		{"Channel not specified", ""},
		{"Invalid channel", "Channel: x"},
		{"Invalid priority", "Channel: Local/a@b|Priority: x"},
		{"Invalid timeout", "Channel: Local/a@b|Exten: 100|Context: default|Priority: 1|Timeout: x"},
		{forbidden, "Channel: Local/a@b|Application: mysystemx"},
		{forbidden, "Channel: Local/a@b|Application: Queue|Data: a,b,c,d,e,agi.sh"},
		{forbidden, "Channel: Local/a@b|Application: NoOp|Data: a DB b"},
		{"Originate failed", "Channel: Local/nosuch@b|Application: NoOp|Data: shell"},
		{"Originate failed", "Channel: Bogus/x|Application: NoOp"},
		{"Originate with 'Exten' requires 'Context' and 'Priority'", "Channel: Local/a@b|Exten: 1"},
		{"Originate with 'Exten' requires 'Context' and 'Priority'", "Channel: Local/a@b"},
		{"Extension does not exist.", "Channel: Local/a@b|Exten: nosuch|Context: default|Priority: 1"},
		{"Uniqueid length exceeds maximum of 149\n", "Channel: Local/a@b|Application: NoOp|ChannelId: " + strings.Repeat("x", 150)},
	}
	inBubble(t, o, func(t *testing.T, p *PBX) {
		c := dial(t, p)
		c.do("Action: Login", "Username: u", "Secret: s", "Events: off")
		for _, tt := range tests {
			lines := []string{"Action: Originate", "ActionID: o"}
			if tt.lines != "" {
				lines = append(lines, strings.Split(tt.lines, "|")...)
			}
			c.expect(c.do(lines...), "Response: Error|ActionID: o|Message: "+tt.want+"|")
		}
	})
}
