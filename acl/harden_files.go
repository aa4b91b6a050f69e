package acl

import (
	"path"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// fileHeaders name files of the configuration, whatever the action.
var fileHeaders = [...]string{"Filename", "SrcFilename", "DstFilename"}

// hardenConfigFile is Asterisk's test of the configuration directory, which
// lets directories pass whose name begins as that does: /etc/asterisk.old.
func hardenConfigFile(a *ami.Action, d Directories) string {
	for _, header := range fileHeaders {
		if name := a.Get(header); name != "" && !strings.HasPrefix(d.clean(name)+"/", strings.TrimSuffix(d.Config, "/")+"/") {
			return header + " is outside of the PBX's configuration directory"
		}
	}
	return ""
}

// hardenConfigRead keeps the files that hold the keys of the PBX itself: who
// reads manager.conf logs in with all rights.
func hardenConfigRead(a *ami.Action, d Directories) string {
	for _, header := range fileHeaders {
		if name := a.Get(header); name != "" && d.holdsKeys(name) {
			return header + " with passwords of the PBX"
		}
	}
	return ""
}

// hardenConfigWrite leaves only the files of which no line can run anything.
// In most others one can: exec_after_rotate of logger.conf, mailcmd of
// voicemail.conf, set_var of pjsip.conf, and every line of extensions.conf. No
// line may bring in another file.
func hardenConfigWrite(a *ami.Action, d Directories) string {
	if reason := hardenConfigRead(a, d); reason != "" {
		return reason
	}
	for _, header := range [...]string{"Filename", "DstFilename"} {
		if name := a.Get(header); name != "" && !plainConfigs[d.relative(name)] {
			return "writing " + path.Base(d.clean(name))
		}
	}
	for line := range a.Lines() {
		name, value, _ := strings.Cut(line, ":")
		if len(name) > 4 && strings.EqualFold(name[:4], "var-") && strings.HasPrefix(strip(value), "#") {
			return name + ", which includes a file,"
		}
	}
	return ""
}

// plainConfigs are files of which no line can run a program or give rights.
var plainConfigs = map[string]bool{
	"agents.conf": true, "followme.conf": true, "meetme.conf": true, "queuerules.conf": true, "queues.conf": true,
}

// keyFiles are files and directories with passwords of managers, of ARI's users
// and of databases. Those of phones are what class config is for.
var keyFiles = [...]string{"*manager*", "users*", "ari*", "*odbc*", "*pgsql*", "*mysql*", "*ldap*", "*tds*"}

// holdsKeys reports whether a file is one of keyFiles, or in one.
func (d Directories) holdsKeys(name string) bool {
	for element := range strings.SplitSeq(ami.FoldName(d.relative(name)), "/") {
		for _, pattern := range keyFiles {
			if ok, _ := path.Match(pattern, element); ok {
				return true
			}
		}
	}
	return false
}

// clean is the path of a file, resolved as far as can be without looking.
func (d Directories) clean(name string) string { return path.Clean(d.configPath(name)) }

// relative is the path of a file within the configuration directory.
func (d Directories) relative(name string) string {
	return strings.TrimPrefix(d.clean(name), strings.TrimSuffix(d.Config, "/")+"/")
}

// hardenModule allows the names of modules only, not paths.
func hardenModule(a *ami.Action, _ Directories) string {
	if strings.Contains(a.Get("Module"), "/") {
		return "Module is a path"
	}
	return ""
}
