package main_test

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/watermaster-project/watermaster"

// A pkg is what `go list` says of a package. Imports are those of the package itself, not
// of its tests; Deps are all that they bring along.
type pkg struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
	Deps       []string
}

// name is the import path within the module.
func (p pkg) name() string { return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/") }

// own gives those of the paths that are packages of this module, by their name.
func own(paths []string) (names []string) {
	for _, path := range paths {
		if rest, ok := strings.CutPrefix(path, module+"/"); ok {
			names = append(names, rest)
		}
	}
	return names
}

// within says whether a package is one of those trees.
func within(name string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return name == tree || strings.HasPrefix(name, tree+"/")
	})
}

func packages(t *testing.T) []pkg {
	t.Helper()
	list := exec.Command("go", "list", "-json=ImportPath,Dir,GoFiles,Imports,Deps", module+"/...")
	out, err := list.Output()
	if err != nil {
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

// TestLayers holds the direction of imports: cmd → server → limiter, store.
func TestLayers(t *testing.T) {
	rules := []struct {
		of  string   // packages in this tree, the first that fits
		may []string // import these trees of the module, and no others
		not []string // of those, not these
		why string
	}{
		{
			"limiter/simulate/provider", nil, nil,
			"it judges the engine: a mistake in code that both share would acquit itself",
		},
		{
			"limiter/simulate", []string{"limiter"}, nil,
			"replays show what the engine does by itself, whatever serves it",
		},
		{
			"limiter", []string{"limiter"}, []string{"limiter/simulate"},
			"the engine is a pure function of its commands and stands at the bottom",
		},
		{
			"store/storetest", []string{"store"}, []string{"store/memory", "store/file", "store/redis"},
			"the suite tests the contract, and so knows no log in particular",
		},
		{
			"store", []string{"store"}, []string{"store/storetest"},
			"a log knows bytes, positions and time, and nothing of limits: else each log would be a second engine",
		},
		{
			"proto", []string{"proto"}, nil,
			"what is on the wire does not depend on how it is served",
		},
		{
			"server/cmd", []string{"server", "limiter", "store", "proto"}, []string{"store/storetest"},
			"cmd puts the parts together and is the only one that names a concrete log",
		},
		{
			"server/replica/simulation", []string{"server/replica", "server/alone", "server/config", "server/metrics", "limiter", "store"}, nil,
			"it runs the log in Redis, the replicas and the engine as they are, and is part of no program",
		},
		{
			"server/envoy", []string{"server/config", "server/spelling", "limiter"}, nil,
			"a format and its lookup are a function of files and a request: who serves them, and where, they do not know",
		},
		{
			"server", []string{"server", "limiter", "store", "proto"},
			[]string{"server/cmd", "store/memory", "store/file", "store/redis", "store/storetest"},
			"services know the contract of a log; which one it is, is for cmd to say",
		},
		{
			"clients", []string{"clients", "proto"}, nil,
			"a client shares only the protocol with the server",
		},
		{
			"examples", []string{"examples", "clients", "proto", "limiter/simulate/provider"}, nil,
			"an example does what any user of the module could do",
		},
	}
	for _, p := range packages(t) {
		i := 0
		for i < len(rules) && !within(p.name(), rules[i].of) {
			i++
		}
		if i == len(rules) {
			t.Errorf("%s belongs to no layer: the top level holds proto, limiter, store, server, clients and examples, so that a reader knows where to look", p.name())
			continue
		}
		rule := rules[i]
		for _, to := range own(p.Imports) {
			if !within(to, rule.may...) || within(to, rule.not...) {
				t.Errorf("%s imports %s: %s", p.name(), to, rule.why)
			}
		}
	}
}

// TestWireTypesStayOutside keeps protobuf and gRPC away from what decides and what stores.
func TestWireTypesStayOutside(t *testing.T) {
	for _, p := range packages(t) {
		if within(p.name(), "server", "clients", "proto", "examples") {
			continue
		}
		if i := slices.IndexFunc(p.Deps, wire); i >= 0 {
			t.Errorf("%s depends on %s: wire types in the engine or in a log tie decisions to a protocol, and their encoding is not deterministic", p.name(), p.Deps[i])
		}
	}
}

func wire(path string) bool {
	return within(path, "google.golang.org/protobuf", "google.golang.org/grpc", "buf.build", "github.com/golang/protobuf")
}

// TestEngineIsPure keeps everything out of package limiter that two replicas could have
// differently.
func TestEngineIsPure(t *testing.T) {
	const why = "replicas decide alike only because an engine depends on nothing but its commands and their times"
	forbidden := []string{"context", "crypto/rand", "log", "math/rand", "net", "os", "runtime", "sync", "syscall"}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "NewTimer", "NewTicker", "Tick", "LoadLocation"}
	found := false
	for _, p := range packages(t) {
		if p.name() != "limiter" {
			continue
		}
		found = true
		for _, imported := range p.Imports {
			if within(imported, forbidden...) || wire(imported) {
				t.Errorf("limiter imports %s: %s", imported, why)
			}
		}
		files := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, use := range uses(file, "time") {
				if slices.Contains(clock, use.Sel.Name) {
					t.Errorf("%s: time.%s: %s", files.Position(use.Pos()), use.Sel.Name, why)
				}
			}
		}
	}
	if !found {
		t.Error("there is no package limiter: this test guards nothing")
	}
}

// uses gives the selectors on an imported package in a file.
func uses(file *ast.File, path string) (out []*ast.SelectorExpr) {
	local := ""
	for _, i := range file.Imports {
		if i.Path.Value != `"`+path+`"` {
			continue
		}
		if local = filepath.Base(path); i.Name != nil {
			local = i.Name.Name
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && local != "" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == local {
				out = append(out, s)
			}
		}
		return true
	})
	return out
}
