package simpbx

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

var listActions = []action{
	{name: "BridgeInfo", synopsis: "Tell about a bridge.", run: (*Request).bridgeInfo},
	{name: "BridgeList", synopsis: "List the bridges there are.", run: (*Request).bridgeList},
	{name: "ConfbridgeListRooms", synopsis: "List conferences, of which there are none.", run: func(r *Request) {
		r.error("No active conferences.")
	}},
	{name: "CoreShowChannels", synopsis: "List the channels there are.", run: (*Request).coreShowChannels},
	{name: "DeviceStateList", synopsis: "List the states of devices.", run: (*Request).deviceStateList},
	{name: "ExtensionStateList", synopsis: "List the states of extensions.", run: (*Request).extensionStateList},
	{name: "ParkedCalls", synopsis: "List parked calls, of which there are none.", run: func(r *Request) {
		r.list("Parked calls will follow").complete("ParkedCallsComplete", "Total", "0")
	}},
	{name: "PJSIPShowAuths", synopsis: "List PJSIP's credentials, of which there are none.", run: func(r *Request) {
		r.errorLF("No Auths found")
	}},
	{name: "PJSIPShowEndpoints", synopsis: "List PJSIP's endpoints.", run: (*Request).pjsipShowEndpoints},
	{name: "Status", synopsis: "Tell the state of channels.", run: (*Request).status},
}

// list writes a list: the response that opens it, items, and the event that
// ends it.
type list struct {
	r     *Request
	items int
}

func (r *Request) list(message string) *list {
	r.Reply("Success", "", "EventList", "start", "Message", message)
	return &list{r: r}
}

// item begins an item with the ActionID in front, where most have it.
func (l *list) item(event string) {
	l.items++
	l.r.add("Event", event)
	l.r.addID()
}

// itemBare begins an item that endWithID ends, with the ActionID at its end.
func (l *list) itemBare(event string) {
	l.items++
	l.r.add("Event", event)
}

func (l *list) end() { l.r.c.out = ami.AppendEnd(l.r.c.out) }

func (l *list) endWithID() {
	l.r.addID()
	l.end()
}

func (l *list) complete(event string, more ...string) {
	l.r.add("Event", event)
	l.r.addID()
	l.r.add("EventList", "Complete", "ListItems", strconv.Itoa(l.items))
	l.r.add(more...)
	l.end()
}

func (r *Request) add(pairs ...string) { r.c.out = appendPairs(r.c.out, pairs) }

func (r *Request) addID() {
	if r.ID() != "" {
		r.add("ActionID", r.ID())
	}
}

// sortedLocked are all channels, oldest first.
func (p *PBX) sortedLocked() []*channel {
	all := make([]*channel, 0, len(p.model.channels))
	for _, ch := range p.model.channels {
		all = append(all, ch)
	}
	slices.SortFunc(all, func(a, b *channel) int { return cmp.Compare(a.order, b.order) })
	return all
}

func bridgeID(ch *channel) string {
	if ch.bridge == nil {
		return ""
	}
	return ch.bridge.id
}

func (r *Request) coreShowChannels() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Channels will follow")
	for _, ch := range p.sortedLocked() {
		l.item("CoreShowChannel")
		r.c.out = ch.append(r.c.out, "")
		d := int(time.Since(ch.created) / time.Second)
		r.add("Application", ch.app, "ApplicationData", ch.data,
			"Duration", fmt.Sprintf("%02d:%02d:%02d", d/3600, d/60%60, d%60), "BridgeId", bridgeID(ch))
		l.end()
	}
	l.complete("CoreShowChannelsComplete")
}

func (r *Request) status() {
	vars := r.Get("Variables")
	if r.c.write&ami.ClassSystem == 0 && (strings.Contains(vars, "SHELL") || strings.Contains(vars, "EVAL")) {
		r.error("Status Access Forbidden: Variables")
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	channels := p.sortedLocked()
	if name := r.Get("Channel"); name != "" {
		ch := p.findLocked(name)
		if ch == nil {
			r.error("No such channel")
			return
		}
		channels = []*channel{ch}
	}
	all, _ := ami.ParseBool(r.Get("AllVariables"))
	l := r.list("Channel status will follow")
	for _, ch := range channels {
		l.itemBare("Status")
		r.add("Privilege", "Call")
		r.c.out = ch.append(r.c.out, "")
		tech, _, _ := strings.Cut(ch.name, "/")
		format := "ulaw"
		if tech == "Local" {
			format = "slin"
		}
		r.add("Type", tech, "DNID", "", "EffectiveConnectedLineNum", known(ch.connNum),
			"EffectiveConnectedLineName", known(ch.connName), "TimeToHangup", "0", "BridgeID", bridgeID(ch),
			"Application", ch.app, "Data", ch.data, "Nativeformats", "("+format+")", "Readformat", format,
			"Readtrans", "", "Writeformat", format, "Writetrans", "", "Callgroup", "0", "Pickupgroup", "0",
			"Seconds", seconds(time.Since(ch.created)))
		if all {
			for _, name := range ch.varNames {
				r.add("Variable", name+"="+ch.vars[name])
			}
		}
		for _, name := range splitArgs(vars) {
			if name != "" {
				value, ok := p.getVarLocked(ch, name)
				if !ok {
					value = "(null)"
				}
				r.add("Variable", name+"="+value)
			}
		}
		l.endWithID()
	}
	l.complete("StatusComplete", "Items", strconv.Itoa(l.items))
}

// hangupRegex is Hangup with a channel of the form /regex/.
func (r *Request) hangupRegex(text string) {
	re, err := regexp.Compile(text[1 : len(text)-1])
	if err != nil {
		r.error("Regex compile failed on: " + text)
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Channels hung up will follow")
	for _, ch := range p.sortedLocked() {
		if re.MatchString(ch.name) {
			l.itemBare("ChannelHungup")
			r.add("Channel", ch.name)
			l.endWithID()
			p.requestHangupLocked(ch, r.Get("Cause"))
		}
	}
	l.complete("ChannelsHungupListComplete")
}

func (r *Request) bridgeList() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Bridge listing will follow")
	for _, id := range slices.Sorted(maps.Keys(p.model.bridges)) {
		l.item("BridgeListItem")
		r.c.out = p.bridgeFields(r.c.out, p.model.bridges[id])
		l.end()
	}
	l.complete("BridgeListComplete")
}

func (r *Request) bridgeInfo() {
	id := r.Get("BridgeUniqueid")
	if id == "" {
		r.error("BridgeUniqueid must be provided")
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	br := p.model.bridges[id]
	if br == nil {
		r.error("Specified BridgeUniqueid not found")
		return
	}
	l := r.list("Bridge channel listing will follow")
	for _, ch := range br.channels {
		l.item("BridgeInfoChannel")
		r.c.out = ch.append(r.c.out, "")
		l.end()
	}
	r.add("Event", "BridgeInfoComplete")
	r.addID()
	r.add("EventList", "Complete", "ListItems", strconv.Itoa(l.items))
	r.c.out = p.bridgeFields(r.c.out, br)
	l.end()
}

func (r *Request) deviceStateList() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Device State Changes will follow")
	for _, e := range p.model.endpoints {
		l.item("DeviceStateChange")
		r.add("Device", "PJSIP/"+e.Name, "State", e.status.String())
		l.end()
	}
	l.complete("DeviceStateListComplete")
}

func (r *Request) extensionStateList() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	l := r.list("Extension Statuses will follow")
	for _, e := range p.model.endpoints {
		number, text := e.status.extension()
		l.item("ExtensionStatus")
		r.add("Exten", e.Number, "Context", "default", "Hint", "PJSIP/"+e.Name,
			"Status", strconv.Itoa(number), "StatusText", text)
		l.end()
	}
	l.complete("ExtensionStateListComplete")
}

func (r *Request) pjsipShowEndpoints() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.model.endpoints) == 0 {
		r.errorLF("No endpoints found")
		return
	}
	l := r.list("A listing of Endpoints follows, presented as EndpointList events")
	for _, e := range p.model.endpoints {
		l.item("EndpointList")
		r.add("ObjectType", "endpoint", "ObjectName", e.Name, "Transport", "", "Aor", e.Name,
			"Auths", "", "OutboundAuths", "", "Contacts", e.contact()+",",
			"DeviceState", deviceTexts[e.status], "ActiveChannels", strconv.Itoa(len(e.channels)))
		l.end()
	}
	l.complete("EndpointListComplete")
}

// contact is where the telephone is registered.
func (e *endpoint) contact() string { return e.Name + "/sip:" + e.Name + "@192.0.2.10:5060" }
