package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"
)

// TestKey: the key is on standard output alone, and the configuration's line takes it.
func TestKey(t *testing.T) {
	var out, errs bytes.Buffer
	c := newRoot()
	c.SetOut(&out)
	c.SetErr(&errs)
	c.SetArgs([]string{"key"})
	if err := c.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	key := strings.TrimSpace(out.String())
	if !strings.HasPrefix(key, "wm_") || strings.Contains(errs.String(), key) {
		t.Errorf("got %q and %q", out.String(), errs.String())
	}
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(key))); !strings.Contains(errs.String(), want) {
		t.Errorf("got %q, want the hash %s", errs.String(), want)
	}
}
