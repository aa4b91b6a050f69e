package acl

import (
	"path"
	"strings"

	"github.com/amiproxy/amiproxy/ami"
)

// Directories are where a PBX keeps its configuration and its modules, just as
// it spells them: Asterisk compares paths with them byte for byte. No file is
// inside of a directory that does not begin with a slash.
type Directories struct {
	Config, Modules string
}

var (
	outside       = Verdict{"File requires escalated privileges", "the file is outside of the PBX's configuration directory"}
	foreignModule = Verdict{"Module must be in the configured modules directory.", "the module is outside of the PBX's modules directory"}
)

// These tests are made on the names alone. Asterisk makes them on what a name
// resolves to, and answers otherwise where there is no such file; from here
// nobody can tell, and a client is not to learn what files there are outside.
// A link inside of the directory that leads out of it is for the PBX to refuse.

// checkConfigFile is for a file that the action reads (manager.c:
// is_restricted_file). One that the action lacks is the PBX's to miss.
func checkConfigFile(a *ami.Action, _ ami.Class, d Directories) Verdict {
	if name := a.Get("Filename"); name != "" && !inside(d.Config, d.configPath(name)) {
		return outside
	}
	return Verdict{}
}

func checkUpdateConfig(a *ami.Action, _ ami.Class, d Directories) Verdict {
	from, to := a.Get("SrcFilename"), a.Get("DstFilename")
	if from == "" || to == "" {
		return Verdict{}
	}
	if !inside(d.Config, d.configPath(from)) || !inside(d.Config, d.configPath(to)) {
		return outside
	}
	return Verdict{}
}

// checkCreateConfig looks at the directory that the file is to be in, since
// the file is not there yet (manager.c: action_createconfig).
func checkCreateConfig(a *ami.Action, _ ami.Class, d Directories) Verdict {
	name := a.Get("Filename")
	if name == "" {
		return Verdict{}
	}
	file := d.configPath(name)
	if !inside(d.Config, file[:strings.LastIndexByte(file, '/')]) {
		return outside
	}
	return Verdict{}
}

// checkModuleLoad is manager.c: file_in_modules_dir. Without a LoadType
// nothing is done but to complain, which the PBX does twice.
func checkModuleLoad(a *ami.Action, _ ami.Class, d Directories) Verdict {
	if a.Get("LoadType") != "" && !inside(d.Modules, d.Modules+"/"+strip(a.Get("Module"))) {
		return foreignModule
	}
	return Verdict{}
}

// configPath is the path that Asterisk makes of the name of a file.
func (d Directories) configPath(name string) string {
	if name = strip(name); !strings.HasPrefix(name, "/") {
		name = d.Config + "/" + name
	}
	return name
}

// inside reports whether a path stays in a directory when all is resolved that
// can be without looking at files. As in Asterisk that is whether it begins
// with the directory's name, so that /etc/asterisk.old is in /etc/asterisk.
func inside(directory, file string) bool {
	return strings.HasPrefix(directory, "/") && strings.HasPrefix(path.Clean(file), directory)
}
