// Package config reads the configuration file: it defaults, validates and
// compiles it to one immutable snapshot, or names everything that is wrong.
//
//	c, err := config.Load("/etc/amiproxy/amiproxy.conf")
//	if err != nil {
//		return err // every error, each with file, line, section and key
//	}
//	for _, w := range c.Warnings {
//		log.Warn(w)
//	}
//
// A file goes through four hands: the reader takes lines apart with Asterisk's
// rules (lines.go, comments.go, header.go, include.go), gopkg.in/ini.v1 parses
// the canonical text made of them (ini.go), tables of keys judge the values
// (keys.go and the file of each kind of section), and what they leave is
// composed to a Config (load.go).
//
// The package listens nowhere, dials nobody, logs nothing and never prints a
// secret. It reads files only while it loads.
package config
