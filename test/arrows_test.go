// Package test holds the tests that need more than one package, or the world outside.
package test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/amiproxy/amiproxy"

// arrows are the packages of this module and which others of it each may import. Who
// adds a package says here where it stands.
var arrows = map[string][]string{
	"cmd/amiproxy":    {"config", "proxy", "ajam", "internal/simpbx"},
	"ajam":            {"proxy", "ami"},
	"proxy":           {"config", "acl", "backend", "ami", "internal/queue"},
	"config":          {"acl", "backend"},
	"backend":         {"ami", "internal/queue"},
	"acl":             {"ami"},
	"internal/simpbx": {"ami"},
	"ami":             {},
	"internal/queue":  {},
	"test":            {},
	"test/amiclient":  {},
	"test/asterisk":   {},
}

// groundFloor are the packages that import nothing but the standard library.
var groundFloor = []string{"ami", "internal/queue", "test/amiclient", "test/asterisk"}

// A goPackage is what we want of the output of go list -json.
type goPackage struct {
	ImportPath, Name, Doc      string
	GoFiles, CgoFiles, Imports []string
}

// path returns the path of the package inside the module.
func (p goPackage) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// packages lists all packages of the module, also those that do not compile.
func packages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Name,Doc,GoFiles,CgoFiles,Imports", "./...")
	cmd.Dir = ".."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var list []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	if len(list) == 0 {
		t.Fatal("go list found no packages")
	}
	return list
}

// TestImports holds the packages to the arrows. Tests may import what they like.
func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		allowed, ok := arrows[p.path()]
		if !ok {
			t.Errorf("%s is a new package: add it to arrows, with what it may import", p.path())
			continue
		}
		for _, imported := range p.Imports {
			if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, inside) {
					t.Errorf("%s imports %s, but may only import %q", p.path(), inside, allowed)
				}
			} else if slices.Contains(groundFloor, p.path()) && !standard(imported) {
				t.Errorf("%s imports %s, but may only import the standard library", p.path(), imported)
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
	for _, p := range packages(t) {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue // Tests only.
		}
		switch {
		case p.Doc == "":
			t.Errorf("%s has no package comment", p.path())
		case p.Name != "main" && !strings.HasPrefix(p.Doc, "Package "+p.Name+" "):
			t.Errorf("%s: the package comment does not begin with %q: %q", p.path(), "Package "+p.Name, p.Doc)
		}
	}
}
