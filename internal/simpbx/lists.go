package simpbx

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

var listActions = []action{
	{name: "CoreShowChannels", synopsis: "List the channels there are.", run: (*Request).coreShowChannels},
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

// itemBare begins an item that has its ActionID at the end: see lastID.
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
