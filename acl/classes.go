package acl

import "github.com/amiproxy/amiproxy/ami"

// ParseClasses reads a read= or write= list as [ami.ParseClasses] does. It
// stands here for package config, which composes the options of this package
// and has no other business with the wire protocol.
func ParseClasses(list string) (ami.Class, error) { return ami.ParseClasses(list) }
