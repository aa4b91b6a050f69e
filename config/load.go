package config

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/amiproxy/amiproxy/acl"
)

// Load reads and checks a configuration file and all that it names. The error
// is an [*Invalid]: it tells everything that is wrong.
func Load(path string) (*Config, error) { return Loader{}.Load(path) }

// Loader reads a configuration from another world than that of the process.
type Loader struct {
	// LookupEnv finds an environment variable; os.LookupEnv if nil.
	LookupEnv func(name string) (value string, ok bool)
	// Open opens a file to read; os.Open if nil, but only of regular files.
	Open func(path string) (fs.File, error)
	// Glob finds the files of an #include; filepath.Glob if nil.
	Glob func(pattern string) ([]string, error)

	exposed []string // the files read so far that everybody may read
}

// Load is like the function of this name.
func (l Loader) Load(path string) (*Config, error) {
	l.complete()
	path = filepath.Clean(path)
	text, _, err := l.read(path)
	if err != nil {
		r := newReport()
		r.errorf(place{file: path}, "", "", "%s", plainError(err))
		return nil, r.err()
	}
	return l.Parse(path, text)
}

// Parse reads and checks a configuration from memory. The name is that of its
// file: it stands in errors, and relative paths start from its folder.
func (l Loader) Parse(name string, text []byte) (*Config, error) {
	l.complete()
	g := &loading{loader: &l, report: newReport(), file: name}
	config := g.compile(g.sections(name, text))
	if err := g.report.err(); err != nil {
		return nil, err
	}
	config.Warnings, config.Risks = texts(g.report, g.report.warnings), texts(g.report, g.report.risks)
	return config, nil
}

func (l *Loader) complete() {
	if l.LookupEnv == nil {
		l.LookupEnv = os.LookupEnv
	}
	if l.Open == nil {
		l.Open = openRegular
	}
	if l.Glob == nil {
		l.Glob = filepath.Glob
	}
}

// openRegular opens a regular file: to open a pipe would wait for its writer.
func openRegular(path string) (fs.File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	return os.Open(path)
}

// loading is one configuration on its way from text to Config.
type loading struct {
	loader *Loader
	report *report
	file   string // the outermost one

	general generalDraft
	// generalDefaultPBX is the defaultpbx line of [general].
	generalDefaultPBX *value

	http  httpDraft
	pbxs  []*pbxDraft
	acls  map[string]*namedACL // by folded name
	users []*userDraft
	// hashed is the first line with a hashed secret of a user.
	hashed  *value
	tenants []*acl.Tenant
}

// sections is the way of a text through pre-pass and ini.v1.
func (l *loading) sections(name string, text []byte) []*section {
	r := newReader(l.loader, l.report)
	r.stack = []string{name}
	r.text(name, text, nil)
	if r.entries > maxEntries {
		l.report.errorf(place{name, 1}, "", "", "more than %d lines with keys and sections", maxEntries)
		return nil
	}
	sections, err := throughINI(r.sections)
	if err != nil {
		l.report.errorf(place{name, 1}, "", "", "%s", err)
	}
	return sections
}

// compile sorts the sections by kind and makes a Config of them. What later
// sections refer to comes first, wherever it stands.
func (l *loading) compile(sections []*section) *Config {
	var general, http *section
	var pbxs, acls, tenants, users []*section
	for _, s := range sections {
		kind, _, colon := strings.Cut(s.name, ":")
		switch kind := fold(kind); {
		case s.template:
			l.checkTemplate(s)
		case !colon && kind == "general":
			general = s
		case !colon && kind == "http":
			http = s
		case colon && kind == "pbx":
			pbxs = append(pbxs, s)
		case colon && kind == "acl":
			acls = append(acls, s)
		case colon && kind == "tenant":
			tenants = append(tenants, s)
		case colon:
			l.report.errorf(s.place, s.name, "", "no such kind of section: there are [general], [http], [pbx:NAME], [acl:NAME], [tenant:NAME] and users, whose names have no colon")
		default:
			users = append(users, s)
		}
	}
	l.loadGeneral(general)
	l.loadHTTP(http)
	for _, s := range pbxs {
		l.loadPBX(s)
	}
	l.resolveDefaultPBX()
	l.loadACLs(acls)
	for _, s := range tenants {
		l.loadTenant(s)
	}
	for _, s := range users {
		l.loadUser(s)
	}
	l.checkChallenge()
	l.risks(sections)
	l.checkWhole()
	if len(l.report.errors) > 0 {
		return nil
	}

	c := &Config{General: l.general.General, HTTP: l.http.HTTP, Tenants: l.tenants, Users: map[string]*User{}}
	for _, p := range l.pbxs {
		c.PBXs = append(c.PBXs, p.Options)
	}
	for _, u := range l.users {
		u.Policy = acl.New(u.options)
		c.Users[fold(u.options.Name)] = &u.User
	}
	return c
}

// checkWhole looks at what no single section can tell.
func (l *loading) checkWhole() {
	top := place{l.file, 1}
	if len(l.pbxs) == 0 {
		l.report.warnf(top, "", "", "no [pbx:NAME] section: there is nothing to forward to")
	}
	if len(l.users) == 0 {
		l.report.warnf(top, "", "", "no user section: nobody can log in")
	}
	hosts := map[string]*pbxDraft{}
	for _, p := range l.pbxs {
		address := p.address()
		if other := hosts[address]; other != nil && p.Host != "" {
			l.report.warnf(p.place, p.section, "host", "the same host and port as [%s]: its events will come twice", other.section)
		} else {
			hosts[address] = p
		}
	}
}

// checkTemplate looks for keys that no section knows: those of a template in
// use are judged in its heirs.
func (l *loading) checkTemplate(s *section) {
	if s.used {
		return
	}
	for _, e := range s.entries {
		if len(kindsOf(e.key)) == 0 {
			l.unknownKey(s, e, "")
		}
	}
}
