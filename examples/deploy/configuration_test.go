package deploy

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/server/config"
)

// TestConfiguration: what all deployments begin with can be served to other machines, and is
// one configuration, though kustomize reads no file outside its directory.
func TestConfiguration(t *testing.T) {
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := config.Parse("config.yaml", text, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Warnings) > 0 {
		t.Errorf("warnings: %v", c.Warnings)
	}
	if len(c.Credentials) == 0 {
		t.Error("it has no credentials: nobody else could be served")
	}
	other, err := os.ReadFile("kubernetes/config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(text, other) {
		t.Error("kubernetes/config.yaml is another: copy config.yaml there")
	}
}
