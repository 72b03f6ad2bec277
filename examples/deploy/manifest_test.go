package deploy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v4"
)

// tools is where `make test` puts what is not Go's.
var tools = filepath.Join("..", "..", ".bin")

// tool gives the command of the first of some programs that is there.
func tool(programs ...[]string) *exec.Cmd {
	for _, p := range programs {
		if path, err := exec.LookPath(p[0]); err == nil {
			return exec.Command(path, p[1:]...)
		}
	}
	return nil
}

// An object is one of Kubernetes, or a part of it.
type object map[string]any

// rendered is what `kubectl apply -k` would apply of a directory; nil without kustomize.
var rendered = map[string]func() ([]byte, error){
	"kubernetes":       sync.OnceValues(func() ([]byte, error) { return render("kubernetes") }),
	"kubernetes-redis": sync.OnceValues(func() ([]byte, error) { return render("kubernetes-redis") }),
}

func render(dir string) ([]byte, error) {
	command := tool(
		[]string{filepath.Join(tools, "kustomize"), "build"},
		[]string{"kustomize", "build"},
		[]string{"kubectl", "kustomize"},
	)
	if command == nil {
		return nil, nil
	}
	command.Args = append(command.Args, dir)
	var problems bytes.Buffer
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil || problems.Len() > 0 { // it warns of what is deprecated
		return nil, fmt.Errorf("%v: %w: %s", command.Args, err, problems.String())
	}
	return out, nil
}

// manifests gives the objects of one replica by "kind/name".
func manifests(t *testing.T) map[string]object {
	t.Helper()
	return manifestsOf(t, "kubernetes")
}

func manifestsOf(t *testing.T, dir string) map[string]object {
	t.Helper()
	text, err := rendered[dir]()
	if err != nil {
		t.Fatal(err)
	}
	if text == nil {
		t.Skip("no kustomize here (`make tools` installs it, and kubectl has one): the manifests are not rendered")
	}
	return objects(t, text)
}

func objects(t *testing.T, text []byte) map[string]object {
	t.Helper()
	all := map[string]object{}
	for d := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all[fmt.Sprint(o["kind"], "/", at(o, "metadata.name"))] = o
	}
}

// at gives what is at a path such as spec.ports.0.name, nil if nothing is.
func at(o any, path string) any {
	for key := range strings.SplitSeq(path, ".") {
		switch v := o.(type) {
		case object:
			o = v[key]
		case map[string]any:
			o = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i >= len(v) {
				return nil
			}
			o = v[i]
		default:
			return nil
		}
	}
	return o
}

// entries gives what is at a path as a mapping.
func entries(o any, path string) object {
	switch m := at(o, path).(type) {
	case object:
		return m
	case map[string]any:
		return m
	}
	return nil
}

// list gives the parts of what is a list.
func list(o any, path string) []any {
	l, _ := at(o, path).([]any)
	return l
}

// texts gives a list of texts.
func texts(o any, path string) (all []string) {
	for _, e := range list(o, path) {
		all = append(all, fmt.Sprint(e))
	}
	return all
}

// named gives the part of a list that has a name.
func named(o any, path, name string) any {
	for _, e := range list(o, path) {
		if at(e, "name") == name {
			return e
		}
	}
	return nil
}

// TestManifestsAreValid holds the manifests to Kubernetes' own schemas, of the oldest version
// that the README names and of the newest: no unknown key, no wrong type, nothing missing.
func TestManifestsAreValid(t *testing.T) {
	for dir := range rendered {
		t.Run(dir, func(t *testing.T) { holdsSchemas(t, dir) })
	}
}

func holdsSchemas(t *testing.T, dir string) {
	t.Helper()
	manifestsOf(t, dir)
	validate := filepath.Join(tools, "python", "bin", "kubernetes-validate")
	if _, err := os.Stat(validate); err != nil {
		t.Skip("no kubernetes-validate here (`make tools` installs it): the manifests are not held to Kubernetes' schemas")
	}
	text, err := rendered[dir]()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "rendered.yaml")
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	for file, content := range map[string][]byte{
		path: text, broken: bytes.Replace(text, []byte("terminationGracePeriodSeconds"), []byte("terminationGraceSeconds"), 1),
	} {
		if err := os.WriteFile(file, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, version := range []string{"1.27.0", "1.37.0"} {
		if out, err := exec.Command(validate, "--strict", "--quiet", "-k", version, path).CombinedOutput(); err != nil {
			t.Errorf("Kubernetes %s: %v: %s", version, err, out)
		}
		if out, err := exec.Command(validate, "--strict", "--quiet", "-k", version, broken).CombinedOutput(); err == nil {
			t.Errorf("Kubernetes %s: an unknown key passes, so this test shows nothing: %s", version, out)
		}
	}
}
