package envoy

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tree writes files into a new directory. A text that begins with "->" is a link.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if to, ok := strings.CutPrefix(text, "->"); ok {
			err = os.Symlink(to, path)
		} else {
			err = os.WriteFile(path, []byte(text), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// Which files of a directory are read.
func TestDirectory(t *testing.T) {
	for _, row := range []struct {
		rule  string
		files map[string]string
		want  []string // domains
	}{
		{"any name", map[string]string{"a.yaml": "domain: a", "b.yml": "domain: b", "c": "domain: c"}, []string{"a", "b", "c"}},
		{"subdirectories", map[string]string{"x/y/a.yaml": "domain: a", "x/b.yaml": "domain: b"}, []string{"a", "b"}},
		{"not what begins with a dot", map[string]string{"a.yaml": "domain: a", ".b.yaml": "domain: b", ".git/c": "domain: c"}, []string{"a"}},
		{"a ConfigMap of Kubernetes once", map[string]string{
			"..2026_11_25/a.yaml": "domain: a", "..data": "->..2026_11_25", "a.yaml": "->..data/a.yaml",
		}, []string{"a"}},
		{"a ConfigMap's directory", map[string]string{
			"..2026_11_25/sub/a.yaml": "domain: a", "..data": "->..2026_11_25", "sub": "->..data/sub",
		}, []string{"a"}},
		{"what links lead to once", map[string]string{"v1/a.yaml": "domain: a", "current": "->v1", "b": "->v1/a.yaml"}, []string{"a"}},
		{"links in a circle", map[string]string{"a.yaml": "domain: a", "self": "->."}, []string{"a"}},
	} {
		l, err := Load(tree(t, row.files), Options{})
		if err != nil {
			t.Errorf("%s: %v", row.rule, err)
			continue
		}
		if got := l.Domains(); !slices.Equal(got, row.want) {
			t.Errorf("%s: got %q, want %q", row.rule, got, row.want)
		}
	}
}

// A directory that is a link itself is read.
func TestLinkedDirectory(t *testing.T) {
	dir := tree(t, map[string]string{"v1/a.yaml": "domain: a", "current": "->v1"})
	l, err := Load(filepath.Join(dir, "current"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := l.Domains(), []string{"a"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBadDirectory(t *testing.T) {
	for _, row := range []struct {
		rule  string
		files map[string]string
		want  string
	}{
		{"no file", nil, "has no files: put in one with a domain"},
		{"only what begins with a dot", map[string]string{".a": "domain: a"}, "has no files"},
		{"a link to nothing", map[string]string{"a": "->b"}, "no such file or directory"},
		{"a domain twice", map[string]string{"a": "domain: d", "b": "domain: d"}, `/b:1:1: domain "d" is given twice, first in `},
		{"not YAML", map[string]string{"a": "{", "b": "domain: d"}, "/a:"},
	} {
		_, err := Load(tree(t, row.files), Options{})
		if err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: got %v, want %s", row.rule, err, row.want)
		}
	}
	if _, err := Load(filepath.Join(t.TempDir(), "none"), Options{}); err == nil {
		t.Error("a directory that is not there was read")
	}
}
