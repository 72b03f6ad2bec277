package config

import (
	"io"
	"os"
	"slices"
	"testing"
	"time"
)

// FuzzParse: whatever the file, reading it ends soon, and gives either a configuration
// that can be described, written without secrets and put in force, or problems with their places.
func FuzzParse(f *testing.F) {
	acme, err := os.ReadFile("testdata/acme.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(acme)
	for _, row := range slices.Concat(brokenFiles, brokenLimits, brokenCredentials) {
		f.Add([]byte(row.file))
	}
	f.Add([]byte(bomb(20)))
	f.Fuzz(func(t *testing.T, data []byte) {
		began := time.Now()
		c, err := Parse("f", data, written)
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			checkErrors(t, err)
			return
		}
		for i := range c.Organizations {
			c.Configure(&c.Organizations[i])
		}
		for s := range c.scopes() {
			for _, l := range s.limits {
				if effective(&l) <= 0 || l.Name == "" {
					t.Errorf("%v: limit %+v", s, l)
				}
			}
		}
		if err := c.Describe(io.Discard); err != nil {
			t.Error(err)
		}
		if _, err := c.Redacted(); err != nil {
			t.Error(err)
		}
		if err := Compare(io.Discard, c, c); err != nil {
			t.Error(err)
		}
	})
}

// checkErrors: an error of Parse is all problems, by line.
func checkErrors(t *testing.T, err error) {
	t.Helper()
	list, ok := err.(Errors)
	if !ok || len(list) == 0 {
		t.Fatalf("an error of type %T: %v", err, err)
	}
	for i, p := range list {
		if p.File != "f" || p.Message == "" || i > 0 && p.Line < list[i-1].Line {
			t.Errorf("problem %d: %+v", i, p)
		}
	}
}
