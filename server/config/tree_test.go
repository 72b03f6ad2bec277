package config

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// One account written out, and the same by anchors, aliases and merges.
func TestAnchors(t *testing.T) {
	plain := mustParse(t, `
organizations:
  o:
    accounts:
      a: {provider: openai, margin: 5%, attributes: {region: eu}, pools: {p: {models: [m], limits: {tokens: 1M/min}}}}
      b: {provider: azure, margin: 5%, attributes: {region: eu}, pools: {p: {models: [m], limits: {tokens: 2M/min}}}}
`)
	short := mustParse(t, `
x-margin: &margin 5%
x-account: &account
  provider: openai
  margin: *margin
  x-note: not seen
x-where: &where {attributes: {region: eu}, margin: 99%}
organizations:
  o:
    x-limits: &limits {tokens: 1M/min}
    accounts:
      a:
        <<: [*account, *where]
        pools: {p: &pool {models: &models [m], limits: *limits}}
      b:
        provider: azure
        <<: [*account, *where]
        pools: {p: {<<: *pool, limits: {<<: *limits, tokens: 2M/min}}}
`)
	if !reflect.DeepEqual(plain.Organizations, short.Organizations) {
		t.Errorf("got\n%+v\nwant\n%+v", short.Organizations, plain.Organizations)
	}
}

func TestExpand(t *testing.T) {
	t.Setenv("WM_REGION", "eu: {a: b} # not YAML")
	t.Setenv("WM_QUOTA", "2M")
	t.Setenv("WM_EMPTY", "")
	file := `
organizations:
  ${WM_NAME:-o}:
    accounts:
      a:
        attributes:
          region: ${WM_REGION}
          both: <${WM_QUOTA}${WM_EMPTY}>
          otherwise: ${WM_EMPTY:-a:-b}
          plain: $${WM_QUOTA} $5 $$ ${WM_QUOTA}
          nothing: ${WM_EMPTY}
        pools: {p: {models: [m], limits: {tokens: "${WM_QUOTA}/min"}}}
x-ignored: ${WM_NEVER_SET}
`
	c := mustParse(t, file)
	a := c.Organizations[0].Accounts[0]
	want := map[string]string{
		"region": "eu: {a: b} # not YAML", "both": "<2M>", "otherwise": "a:-b", "plain": "${WM_QUOTA} $5 $$ 2M", "nothing": "",
	}
	if !reflect.DeepEqual(a.Attributes, want) {
		t.Errorf("got %q, want %q", a.Attributes, want)
	}
	if c.Organizations[0].Name != "o" || a.Pools[0].Limits[0].Quota != 2_000_000 {
		t.Errorf("got %+v", c.Organizations[0])
	}
	t.Setenv("WM_QUOTA", "3M")
	if other := mustParse(t, file); other.Hash == c.Hash {
		t.Error("another value of a variable, and the same hash")
	}
}

func TestIdentity(t *testing.T) {
	file := atTop("")
	hash := fnv.New64a()
	hash.Write([]byte(file))
	c := mustParse(t, file)
	if c.Revision != written.UnixNano() || c.Hash != hash.Sum64() {
		t.Errorf("got revision %d, hash %x; want %d, %x", c.Revision, c.Hash, written.UnixNano(), hash.Sum64())
	}
	if c := mustParse(t, atTop("revision: 12")); c.Revision != 12 {
		t.Errorf("got revision %d, want 12", c.Revision)
	}
	if c, err := Parse("f", []byte(file), time.Time{}); err != nil || c.Revision != 0 {
		t.Errorf("without a time: got %+v, %v; want revision 0", c, err)
	}
}

// bomb is a file whose aliases unfold to 2^levels nodes.
func bomb(levels int) string {
	var b strings.Builder
	b.WriteString("x-0: &a0 {k: v}\n")
	for i := range levels {
		fmt.Fprintf(&b, "x-%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	fmt.Fprintf(&b, "organizations: *a%d\n", levels)
	return b.String()
}

func TestBounds(t *testing.T) {
	for _, row := range []struct{ name, file, want string }{
		{"aliases", bomb(20), "f:2:16: too large, with what its aliases stand for"},
		{"depth", strings.Repeat("[", 60), "f:1:49: not YAML: "},
		{"size", strings.Repeat("#", maxSize+1), "f: larger than 4 MiB"},
		{"depth of aliases", bomb(60), "f:38:13: nested too deeply, or an anchor that contains itself"},
	} {
		began := time.Now()
		_, err := Parse("f", []byte(row.file), written)
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: took %v", row.name, took)
		}
		if got := message(err); !strings.HasPrefix(got, row.want) {
			t.Errorf("%s: got %s, want %s", row.name, got, row.want)
		}
	}
}

// Of a file of rubbish a bounded part is told.
func TestManyProblems(t *testing.T) {
	_, err := Parse("f", []byte(strings.Repeat("- a\n", 10)+"a: b"), written)
	if err == nil {
		t.Error("rubbish was accepted")
	}
	var b strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, err = Parse("f", []byte(b.String()), written)
	if list, _ := err.(Errors); len(list) != maxProblems {
		t.Errorf("got %d problems, want %d", len(list), maxProblems)
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if _, err := Load(path); !os.IsNotExist(unwrap(err)) {
		t.Errorf("got %v, want that it does not exist", err)
	}
	file := strings.Replace(atTop(""), "[m]}", "[m], limits: {requests: {quota: 9/day, zone: Europe/Zurich}}}", 1)
	if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(path)
	if err != nil || len(c.Warnings) != 0 {
		t.Fatalf("got %+v, %v", c, err)
	}
	old := time.Now().AddDate(-6, 0, 0)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	c, err = Load(path)
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].Message, "save it anew") {
		t.Errorf("got %+v, %v; want a warning of old zones", c, err)
	}
	if err := os.WriteFile(path, []byte("a: b"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.HasPrefix(err.Error(), path+":1:1: ") {
		t.Errorf("got %v, want problems with the path", err)
	}
}

func unwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		if _, ok := err.(*os.PathError); ok {
			return err
		}
		err = u.Unwrap()
	}
}
