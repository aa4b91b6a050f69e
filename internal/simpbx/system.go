package simpbx

import (
	"slices"
	"strconv"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

var systemActions = []action{
	{name: "Command", synopsis: "Run a command of the CLI.", run: (*Request).command},
	{name: "CoreSettings", synopsis: "Tell version and settings.", run: (*Request).coreSettings},
	{name: "CoreStatus", synopsis: "Tell since when it runs, and its calls.", run: (*Request).coreStatus},
	{name: "DBDel", synopsis: "Delete an entry of the database.", run: (*Request).dbDel},
	{name: "DBGet", synopsis: "Tell an entry of the database.", run: (*Request).dbGet},
	{name: "DBGetTree", synopsis: "List entries of the database.", run: (*Request).dbGetTree},
	{name: "DBPut", synopsis: "Set an entry of the database.", run: (*Request).dbPut},
	{name: "ExtensionState", synopsis: "Tell the state of an extension.", run: (*Request).extensionState},
	{name: "MailboxCount", synopsis: "Count the messages of a mailbox.", run: (*Request).mailboxCount},
	{name: "MailboxStatus", synopsis: "Tell whether messages wait.", run: (*Request).mailboxStatus},
	{name: "Reload", synopsis: "Read the configuration again.", run: (*Request).reload},
	{name: "UserEvent", synopsis: "Send an event of any content.", run: (*Request).userEvent},
}

func (r *Request) coreSettings() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Reply("Success", "",
		"AMIversion", p.opts.Version, "AsteriskVersion", p.versionLocked(), "SystemName", p.opts.SystemName,
		"CoreMaxCalls", "0", "CoreMaxLoadAvg", "0.000000", "CoreRunUser", "", "CoreRunGroup", "",
		"CoreMaxFilehandles", "0", "CoreRealTimeEnabled", "No", "CoreCDRenabled", "Yes",
		"CoreHTTPenabled", "No", "SoundsSearchCustomDir", "No")
}

func (r *Request) coreStatus() {
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	r.Reply("Success", "",
		"CoreStartupDate", p.started.Format("2006-01-02"), "CoreStartupTime", p.started.Format("15:04:05"),
		"CoreReloadDate", p.reloaded.Format("2006-01-02"), "CoreReloadTime", p.reloaded.Format("15:04:05"),
		"CoreCurrentCalls", strconv.Itoa(len(p.model.live)),
		"CoreProcessedCalls", strconv.Itoa(p.model.processed))
}

// reload tells what it would do; there is no configuration.
func (r *Request) reload() {
	module := r.Get("Module")
	known := []string{"", "manager", "app_queue", "app_queue.so", "res_pjsip", "res_pjsip.so", "pbx_config", "pbx_config.so"}
	if !slices.Contains(known, module) {
		r.error("No such module")
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	p.markReloadLocked(module)
	r.Reply("Success", "Module Reloaded")
}

func (r *Request) mailboxStatus() {
	if m := r.Get("Mailbox"); m == "" {
		r.error("Mailbox not specified")
	} else {
		r.Reply("Success", "Mailbox Status", "Mailbox", m, "Waiting", "0")
	}
}

func (r *Request) mailboxCount() {
	if m := r.Get("Mailbox"); m == "" {
		r.error("Mailbox not specified")
	} else {
		r.Reply("Success", "Mailbox Message Count", "Mailbox", m, "UrgMessages", "0", "NewMessages", "0", "OldMessages", "0")
	}
}

func (r *Request) extensionState() {
	exten, context := r.Get("Exten"), r.Get("Context")
	if exten == "" {
		r.error("Extension not specified")
		return
	}
	setDefault(&context, "default")
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	hint, status, text := "", -1, "Unknown"
	for _, e := range p.model.endpoints {
		if e.Number == exten && context == "default" {
			hint = "PJSIP/" + e.Name
			status, text = e.status.extension()
		}
	}
	r.Reply("Success", "Extension Status", "Exten", exten, "Context", context,
		"Hint", hint, "Status", strconv.Itoa(status), "StatusText", text)
}

// dbKey is the key that a database action names; false means that the action
// was answered with an error.
func (r *Request) dbKey() (string, bool) {
	family, key := r.Get("Family"), r.Get("Key")
	switch {
	case family == "":
		r.error("No family specified.")
	case key == "":
		r.error("No key specified.")
	default:
		return "/" + family + "/" + key, true
	}
	return "", false
}

func (r *Request) dbPut() {
	if key, ok := r.dbKey(); ok {
		p := r.c.p
		p.mu.Lock()
		defer p.mu.Unlock()
		p.model.db[key] = r.Get("Val")
		r.Reply("Success", "Updated database successfully")
	}
}

func (r *Request) dbDel() {
	if key, ok := r.dbKey(); ok {
		p := r.c.p
		p.mu.Lock()
		defer p.mu.Unlock()
		if _, ok := p.model.db[key]; !ok {
			r.error("Database entry not found")
			return
		}
		delete(p.model.db, key)
		r.Reply("Success", "Key deleted successfully")
	}
}

func (r *Request) dbGet() {
	key, ok := r.dbKey()
	if !ok {
		return
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	val, ok := p.model.db[key]
	if !ok {
		r.error("Database entry not found")
		return
	}
	l := r.list("Result will follow")
	l.itemBare("DBGetResponse")
	r.add("Family", r.Get("Family"), "Key", r.Get("Key"), "Val", val)
	l.endWithID()
	l.complete("DBGetComplete")
}

func (r *Request) dbGetTree() {
	prefix := ""
	if family := r.Get("Family"); family != "" {
		prefix = "/" + family
		if key := r.Get("Key"); key != "" {
			prefix += "/" + key
		}
	}
	p := r.c.p
	p.mu.Lock()
	defer p.mu.Unlock()
	var keys []string
	for key := range p.model.db {
		if key == prefix || strings.HasPrefix(key, prefix+"/") {
			keys = append(keys, key)
		}
	}
	if keys == nil {
		r.error("Database entry not found")
		return
	}
	slices.Sort(keys)
	l := r.list("Result will follow")
	for _, key := range keys {
		l.itemBare("DBGetTreeResponse")
		r.add("Key", key, "Val", p.model.db[key])
		l.endWithID()
	}
	l.complete("DBGetTreeComplete")
}

// userEvent sends all lines on but those that name it (manager.c:
// action_userevent).
func (r *Request) userEvent() {
	p := r.c.p
	r.Reply("Success", "Event Sent")
	p.mu.Lock()
	defer p.mu.Unlock()
	b := p.eventLocked("UserEvent", ami.ClassUser)
	b = ami.AppendHeader(b, "UserEvent", r.Get("UserEvent"))
	for line := range r.Lines() {
		lower := strings.ToLower(line)
		if !strings.HasPrefix(lower, "action:") && !strings.HasPrefix(lower, "userevent:") {
			b = append(b, line+"\r\n"...)
		}
	}
	p.sendLocked(ami.ClassUser, b)
}
