package simpbx

import (
	"fmt"
	"strings"
	"time"

	"github.com/amiproxy/amiproxy/ami"
)

// command answers a Command with what the few commands there are would print.
func (r *Request) command() {
	words := strings.Fields(r.Get("Command"))
	if len(words) == 0 {
		r.error("No command provided")
		return
	}
	if len(words) > 1 {
		switch strings.ToLower(words[0] + " " + words[1]) {
		case "module load", "module unload", "restart gracefully":
			r.error("Command blacklisted")
			return
		}
	}
	command := strings.Join(words, " ")
	p := r.c.p
	var lines []string
	word := "Success"
	p.mu.Lock()
	switch command {
	case "core show version":
		lines = []string{"Asterisk " + p.versionLocked() + " built by simpbx"}
	case "core show uptime":
		lines = []string{
			"System uptime: " + spell(time.Since(p.started)),
			"Last reload: " + spell(time.Since(p.reloaded)),
		}
	case "core show settings":
		lines = []string{
			"", "PBX Core settings", "-----------------",
			"  Version:                     " + p.versionLocked() + " built by simpbx",
			"", "* Directories", "  -------------",
			"  Configuration directory:     /etc/asterisk",
			"  Module directory:            /usr/lib/asterisk/modules",
		}
	case "core show channels":
		lines = p.showChannelsLocked()
	case "core reload":
		p.markReloadLocked("")
	case "queue show":
		lines = p.showQueuesLocked()
	default:
		word = "Error"
		lines = []string{fmt.Sprintf("No such command '%s' (type 'core show help %s' for other possible commands)", command, command)}
	}
	p.mu.Unlock()
	r.output(word, lines)
}

// output writes the answer to a Command, in the way of the version.
func (r *Request) output(word string, lines []string) {
	if r.c.p.legacy {
		r.add("Response", "Follows", "Privilege", "Command")
		r.addID()
		for _, line := range lines {
			r.c.out = append(r.c.out, line+"\n"...)
		}
		r.c.out = append(r.c.out, "--END COMMAND--\r\n\r\n"...)
		return
	}
	r.c.out = ami.AppendResponseStart(r.c.out, word, r.ID())
	r.add("Message", "Command output follows")
	if len(lines) == 0 {
		lines = []string{""}
	}
	for _, line := range lines {
		r.add("Output", line)
	}
	r.c.out = ami.AppendEnd(r.c.out)
}

// versionLocked is the Asterisk whose AMI version this is.
func (p *PBX) versionLocked() string {
	major, _, _ := strings.Cut(p.opts.Version, ".")
	for i, m := range []string{"2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13"} {
		if m == major {
			return fmt.Sprintf("%d.0.0", 13+i)
		}
	}
	return "1.8.0"
}

func spell(d time.Duration) string {
	n := int64(d / time.Second)
	var parts []string
	for _, unit := range []struct {
		size int64
		name string
	}{{86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}} {
		if k := n / unit.size; k > 0 || unit.size == 1 && parts == nil {
			s := fmt.Sprintf("%d %s", k, unit.name)
			if k != 1 {
				s += "s"
			}
			parts = append(parts, s)
		}
		n %= unit.size
	}
	return strings.Join(parts, ", ")
}

func (p *PBX) showChannelsLocked() []string {
	lines := []string{fmt.Sprintf("%-20s %-20s %-7s %-30s", "Channel", "Location", "State", "Application(Data)")}
	for _, ch := range p.sortedLocked() {
		location := fmt.Sprintf("%s@%s:%d", ch.exten, ch.context, ch.priority)
		lines = append(lines, fmt.Sprintf("%-20.20s %-20.20s %-7.7s %-30.30s",
			ch.name, location, stateNames[ch.state], ch.app+"("+ch.data+")"))
	}
	return append(lines,
		count(len(p.model.channels), "active channel"),
		count(len(p.model.live), "active call"),
		count(p.model.processed, "call")+" processed")
}

func count(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

func (p *PBX) showQueuesLocked() []string {
	var lines []string
	for _, q := range p.model.queues {
		lines = append(lines, fmt.Sprintf("%s has %d calls (max unlimited) in 'rrmemory' strategy (%ds holdtime, %ds talktime), W:0, C:%d, A:%d, SL:0.0%%, SL2:0.0%% within 0s",
			q.name, len(q.waiting), int(q.holdTime.Seconds()), int(q.talkTime.Seconds()), q.completed, q.abandoned))
		lines = append(lines, members(q)...)
		if len(q.waiting) == 0 {
			lines = append(lines, "   No Callers")
		} else {
			lines = append(lines, "   Callers: ")
		}
		for i, w := range q.waiting {
			lines = append(lines, fmt.Sprintf("      %d. %s (wait: %s, prio: 0)", i+1, w.ch.name, clockTime(time.Since(w.since))))
		}
		lines = append(lines, "")
	}
	if lines == nil {
		lines = []string{"No queues."}
	}
	return lines
}

func clockTime(d time.Duration) string {
	n := int(d / time.Second)
	return fmt.Sprintf("%d:%02d", n/60, n%60)
}

func members(q *queue) []string {
	if len(q.members) == 0 {
		return []string{"   No Members"}
	}
	lines := []string{"   Members: "}
	for _, m := range q.members {
		paused := ""
		if m.paused {
			paused = " (paused)"
		}
		dynamic := ""
		if m.membership == "dynamic" {
			dynamic = " (dynamic)"
		}
		lines = append(lines, fmt.Sprintf("      %s (ringinuse enabled)%s%s (%s) has taken %d calls", m.iface, dynamic, paused, deviceTexts[m.status()], m.callsTaken))
	}
	return lines
}
