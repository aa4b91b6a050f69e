// Package config reads the configuration file: it defaults, validates and
// compiles it to one immutable snapshot, or names everything that is wrong.
package config
