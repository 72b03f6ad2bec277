package access

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/watermaster-project/watermaster/server/config"
)

// manyKeys are credentials with two keys each.
func manyKeys(n int) []config.Credential {
	var all []config.Credential
	for i := range n {
		all = append(all, config.Credential{
			Name: fmt.Sprint("c", i), Organization: "acme", Services: []string{config.ServiceLimiter},
			SHA256: digests(fmt.Sprint("key a of ", i), fmt.Sprint("key b of ", i)),
		})
	}
	return all
}

func TestFind(t *testing.T) {
	const n = 10_000
	l := Compile(manyKeys(n))
	for i := range n {
		for _, which := range []string{"a", "b"} {
			c, ok := l.Find(fmt.Sprintf("key %s of %d", which, i))
			if want := fmt.Sprint("c", i); !ok || c.Name() != want {
				t.Fatalf("got %v, %v; want %s", c, ok, want)
			}
		}
		if c, ok := l.Find(fmt.Sprintf("key c of %d", i)); ok {
			t.Fatalf("a key of nobody is %s's", c.Name())
		}
	}
}

// Keys at the same place of the index are told apart.
func TestFindAmongCollisions(t *testing.T) {
	l := Compile(testCredentials())
	var all []entry
	for _, keys := range l.keys {
		all = append(all, keys...)
	}
	for place := range l.keys {
		l.keys[place] = all
	}
	for key, want := range map[string]string{workerKey: "workers", rotatedKey: "workers", adminKey: "admin", otherKey: "other"} {
		if c, ok := l.Find(key); !ok || c.Name() != want {
			t.Errorf("got %v, %v; want %s", c, ok, want)
		}
	}
	if _, ok := l.Find(formerKey); ok {
		t.Error("a former key is found")
	}
}

func TestFindLongest(t *testing.T) {
	longest := strings.Repeat("k", maxKey)
	l := Compile([]config.Credential{{Name: "c", SHA256: digests(longest, longest+"k"), Organization: "acme"}})
	if _, ok := l.Find(longest); !ok {
		t.Error("a key of 512 bytes is not found")
	}
	if _, ok := l.Find(longest + "k"); ok {
		t.Error("a key of 513 bytes is found")
	}
}

func TestEmpty(t *testing.T) {
	l := Compile(nil)
	if _, ok := l.Find(""); ok || !l.Empty() {
		t.Error("an empty list has a key")
	}
	if _, ok := l.FindCertificate([]string{""}); ok {
		t.Error("an empty list has a certificate")
	}
	for _, c := range testCredentials() {
		if Compile([]config.Credential{c}).Empty() {
			t.Errorf("%s: the list is empty", c.Name)
		}
	}
}

// What is allowed is found without garbage.
func TestNoAllocation(t *testing.T) {
	l := Compile(testCredentials())
	md := bearer(workerKey)
	allocations := testing.AllocsPerRun(100, func() {
		c, err := l.Authorize("/watermaster.v1.LimiterService/Acquire", md, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err1 := c.Organization("")
		_, err2 := c.Project("ads-eu")
		if err1 != nil || err2 != nil || c.Class("") != nil {
			t.Fatal(err1, err2)
		}
		if _, ok := l.Find(formerKey); ok {
			t.Fatal("a former key is found")
		}
	})
	if allocations != 0 {
		t.Errorf("got %v allocations a call, want none", allocations)
	}
}

// A new key is good as it is made, and like no other.
func TestNewKey(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		key, sum := NewKey()
		want := sha256.Sum256([]byte(key))
		if sum != hex.EncodeToString(want[:]) || seen[key] || len(key) != len("wm_")+43 {
			t.Fatalf("got %s, %s", key, sum)
		}
		seen[key] = true
		if got, err := KeyOf(bearer(key)); err != nil || got != key {
			t.Fatalf("got %s, %v; want %s", got, err, key)
		}
	}
	// The file of a configuration takes it.
	key, sum := NewKey()
	text, err := os.ReadFile("../config/testdata/acme.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "sha256: \"")
	cfg, err := config.Parse("acme.yaml", []byte(strings.Replace(string(text), rest[:64], sum, 1)), writtenAt)
	if err != nil {
		t.Fatal(err)
	}
	if c, ok := Compile(cfg.Credentials).Find(key); !ok || c.Name() != "search-workers" {
		t.Errorf("got %v, %v", c, ok)
	}
}

// FuzzKeyOf: whatever the headers, there is one key in them that could be sent again, or
// an error that does not tell it.
func FuzzKeyOf(f *testing.F) {
	f.Add("Bearer CANARY", "", true)
	f.Add("Bearer  CANARY", "CANARY", false)
	f.Add("Basic CANARY", "CANARY\x7f", false)
	f.Add(strings.Repeat(" ", 600), "", true)
	f.Fuzz(func(t *testing.T, authorization, apiKey string, one bool) {
		md := metadata.Pairs("authorization", authorization)
		if !one {
			md.Append("x-api-key", apiKey)
		}
		key, err := KeyOf(md)
		if err != nil {
			if key != "" || strings.Contains(err.Error(), "CANARY") {
				t.Errorf("got %q, %v", key, err)
			}
			return
		}
		if !strings.HasSuffix(authorization, key) || key == "" || len(key) > maxKey || strings.ContainsAny(key, " \t\r\n\x00") || !one && key != apiKey {
			t.Errorf("got %q of %q and %q", key, authorization, apiKey)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	key, sum := NewKey()
	digest, err := hex.DecodeString(sum)
	if err != nil {
		b.Fatal(err)
	}
	l := Compile(append(manyKeys(10_000), config.Credential{Name: "c", SHA256: []config.Digest{config.Digest(digest)}}))
	for _, row := range []struct {
		name, key string
		want      bool
	}{{"right", key, true}, {"wrong", key + "x", false}, {"longest", strings.Repeat("k", maxKey), false}} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, ok := l.Find(row.key); ok != row.want {
					b.Fatal(ok)
				}
			}
		})
	}
}

func BenchmarkAuthorize(b *testing.B) {
	l := Compile(testCredentials())
	md := bearer(workerKey)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Authorize("/watermaster.v1.LimiterService/Acquire", md, nil); err != nil {
			b.Fatal(err)
		}
	}
}
