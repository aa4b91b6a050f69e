// Package test holds the tests that need more than one package, or the world outside.
package test

import (
	"errors"
	"go/build"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/amiproxy/amiproxy"

// arrows are the packages of this module and which others of it each may import. Who
// adds a package says here where it stands.
var arrows = map[string][]string{
	"cmd/amiproxy":    {"config", "proxy", "acl", "ajam", "internal/simpbx"},
	"ajam":            {"proxy", "ami"},
	"proxy":           {"config", "acl", "backend", "ami", "internal/queue", "internal/owned", "internal/fence", "internal/audit"},
	"config":          {"acl", "backend"},
	"backend":         {"ami", "internal/queue", "internal/owned"},
	"acl":             {"ami"},
	"internal/simpbx": {"ami"},
	"internal/owned":  {"ami"},
	"internal/fence":  {"acl", "ami"},
	"internal/audit":  {"internal/queue"},
	"ami":             {},
	"internal/queue":  {},
	"test":            {},
	"test/amiclient":  {},
	"test/asterisk":   {},
}

// groundFloor are the packages that import nothing but the standard library.
var groundFloor = []string{"ami", "internal/queue", "test/amiclient", "test/asterisk"}

// packages returns all packages of the module by their paths inside it, also those that
// do not compile. It reads them in this process so that the cache of go test sees which
// files the result depends on.
func packages(t *testing.T) map[string]*build.Package {
	t.Helper()
	const top = ".."
	found := map[string]*build.Package{}
	err := filepath.WalkDir(top, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); dir != top && (name[0] == '.' || name[0] == '_' || name == "testdata" || name == "vendor") {
			return fs.SkipDir
		}
		p, err := build.ImportDir(dir, 0)
		if none := (*build.NoGoError)(nil); errors.As(err, &none) {
			return nil
		} else if err != nil {
			return err
		}
		path, err := filepath.Rel(top, dir)
		found[filepath.ToSlash(path)] = p
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("no packages found")
	}
	return found
}

// TestImports holds the packages to the arrows. Tests may import what they like.
func TestImports(t *testing.T) {
	for path, p := range packages(t) {
		allowed, ok := arrows[path]
		if !ok {
			t.Errorf("%s is a new package: add it to arrows, with what it may import", path)
			continue
		}
		for _, imported := range p.Imports {
			if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, inside) {
					t.Errorf("%s imports %s, but may only import %q", path, inside, allowed)
				}
			} else if slices.Contains(groundFloor, path) && !standard(imported) {
				t.Errorf("%s imports %s, but may only import the standard library", path, imported)
			}
		}
	}
}

// standard reports whether an import path is of the standard library, whose first
// elements alone have no dot.
func standard(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return path != "C" && !strings.Contains(first, ".")
}

// TestPackageDocs makes sure that every package says what it is.
func TestPackageDocs(t *testing.T) {
	for path, p := range packages(t) {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue // Tests only.
		}
		switch {
		case p.Doc == "":
			t.Errorf("%s has no package comment", path)
		case p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
			t.Errorf("%s: the package comment does not begin with %q: %q", path, "Package "+p.Name, p.Doc)
		}
	}
}
