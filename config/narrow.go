package config

import "slices"

// Narrow returns the user less the rights that now, the same user in a later
// configuration, lacks: u itself if it lacks none. What now has beyond u is
// left out. Rights are the policy, the PBXes, sharedids and proxyadmin; everything else
// stays as it is in u.
func (u *User) Narrow(now *User) *User {
	n := *u
	n.Policy = u.Policy.Narrow(now.Policy)
	n.SharedIDs = u.SharedIDs && now.SharedIDs
	n.ProxyAdmin = u.ProxyAdmin && now.ProxyAdmin
	n.PBXs = slices.DeleteFunc(slices.Clone(u.PBXs), func(name string) bool { return !slices.Contains(now.PBXs, name) })
	if n.Policy == u.Policy && n.SharedIDs == u.SharedIDs && n.ProxyAdmin == u.ProxyAdmin && len(n.PBXs) == len(u.PBXs) {
		return u
	}
	return &n
}
