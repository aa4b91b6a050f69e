package proxy

import (
	"slices"

	"github.com/amiproxy/amiproxy/acl"
	"github.com/amiproxy/amiproxy/ami"
	"github.com/amiproxy/amiproxy/backend"
	"github.com/amiproxy/amiproxy/config"
	"github.com/amiproxy/amiproxy/internal/fence"
)

// snapshot is what depends on the configuration and comes anew with it. It is
// immutable.
type snapshot struct {
	config *config.Config
	pbxs   []*pbx // in file order
	// indexes is above every index of a PBX: the next new PBX has it. None is used
	// twice, so that whoever still sees a PBX that is removed takes no other for
	// it.
	indexes int
	// audiences are those that sessions are in from their login on, by user.
	audiences map[*config.User]*audience
	unwanted  map[string]bool // disabledevents
	// limits are those of the users by name in lower case. A user who is in two
	// configurations has the same ones in both.
	limits map[string]*limits
	// wantsCertificates says that certificates of clients count for something.
	wantsCertificates bool
	// decoy stands for the users that do not exist: to check a secret of theirs
	// takes as long as with the slowest of those who do.
	decoy *acl.Policy
}

// now is what a new client meets.
func (srv *Server) now() *snapshot { return srv.current.Load() }

func (srv *Server) general() *config.General { return &srv.now().config.General }

// pbx finds a PBX by its name, compared without case; nil if there is none.
func (n *snapshot) pbx(name string) *pbx {
	for _, p := range n.pbxs {
		if ami.FoldName(p.Name()) == ami.FoldName(name) {
			return p
		}
	}
	return nil
}

// user finds a user by the name, compared without case; nil if there is none.
func (n *snapshot) user(name string) *config.User { return n.config.Users[ami.FoldName(name)] }

// disables reports whether nobody is to get an event (disabledevents).
func (n *snapshot) disables(f ami.Frame) bool {
	return n.unwanted != nil && n.unwanted[string(f.Event())]
}

// plan is the way to another configuration: all of it that can fail is done.
type plan struct {
	now            *snapshot
	added, removed []*pbx
	kept           []*pbx
	settings       []*backend.Settings // those that kept are to have
	// respelled are the names of PBXes that go on under another spelling.
	respelled []string
	// narrowed are the sessions that have lost rights by it.
	narrowed []*Session
	// then is what is to be done once it is in use.
	then []func()
}

// plan prepares a configuration. The PBXes that are in the one before, if there
// is one, stay the same ones.
func (srv *Server) plan(cfg *config.Config) (*plan, error) {
	before := srv.now()
	if before == nil {
		before = &snapshot{}
	}
	cfg, respelled := before.respell(cfg)
	n := &snapshot{config: cfg, indexes: before.indexes, audiences: make(map[*config.User]*audience)}
	next := &plan{now: n, respelled: respelled}
	for _, options := range cfg.PBXs {
		p := before.pbx(options.Name)
		if p != nil {
			settings, err := backend.Prepare(options)
			if err != nil {
				return nil, err
			}
			next.kept, next.settings = append(next.kept, p), append(next.settings, settings)
		} else {
			p = &pbx{source: source{srv: srv, index: n.indexes}, calls: fence.New(maxCalls)}
			var err error
			if p.Backend, err = backend.New(options, p, srv.log); err != nil {
				return nil, err
			}
			p.house = p.NewStream(nil)
			p.setTenants(cfg.Tenants)
			next.added = append(next.added, p)
			n.indexes++
		}
		n.pbxs = append(n.pbxs, p)
	}
	for _, p := range before.pbxs {
		if n.pbx(p.Name()) == nil {
			next.removed = append(next.removed, p)
		}
	}
	n.wantsCertificates = cfg.General.TLSClientCAs != nil
	n.decoy, n.limits = acl.Nobody(), make(map[string]*limits)
	for name, u := range cfg.Users {
		if n.limits[name] = before.limits[name]; n.limits[name] == nil {
			n.limits[name] = newLimits(u)
		}
		n.wantsCertificates = n.wantsCertificates || u.Policy.TakesCertificates()
		if u.Policy.HashWork() > n.decoy.HashWork() {
			n.decoy = u.Policy.Decoy()
		}
		n.audiences[u] = newAudience(u.Policy.Filters(), u.Policy.Fence(), n.indexes)
	}
	for _, name := range cfg.General.DisabledEvents {
		if n.unwanted == nil {
			n.unwanted = make(map[string]bool)
		}
		n.unwanted[name] = true
	}
	return next, nil
}

// respell returns a configuration in which the PBXes that there are already are
// spelled as they are now: a name is for as long as its PBX is there, in events that
// are on their way and in what clients remember. respelled are the names that were
// spelled otherwise.
func (n *snapshot) respell(cfg *config.Config) (as *config.Config, respelled []string) {
	spell := func(name string) string {
		if p := n.pbx(name); p != nil {
			return p.Name()
		}
		return name
	}
	for _, o := range cfg.PBXs {
		if spell(o.Name) != o.Name {
			respelled = append(respelled, o.Name)
		}
	}
	if respelled == nil {
		return cfg, nil
	}
	c := *cfg
	c.PBXs = slices.Clone(cfg.PBXs)
	for i := range c.PBXs {
		c.PBXs[i].Name = spell(c.PBXs[i].Name)
	}
	c.Users = make(map[string]*config.User, len(cfg.Users))
	for name, u := range cfg.Users {
		user := *u
		user.PBXs = slices.Clone(u.PBXs)
		for i := range user.PBXs {
			user.PBXs[i] = spell(user.PBXs[i])
		}
		c.Users[name] = &user
	}
	return &c, respelled
}
