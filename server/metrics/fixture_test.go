package metrics

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/server/config"
)

// acme is an organization with two named projects and a template, beta one without.
const acme = `
revision: 7
organizations:
  acme:
    units: [images]
    accounts:
      main: {provider: openai, pools: {gpt: {models: [gpt], limits: {tokens: 10k/min, images: 5/min}}}}
    projects: {search: {}, billing: {}, "*": {}}
    routes: {one: {targets: [{account: main, model: gpt}]}}
  beta:
    accounts:
      main: {provider: openai, pools: {gpt: {models: [gpt], limits: {tokens: 10k/min}}}}
    projects: {only: {}}
    routes: {one: {targets: [{account: main, model: gpt}]}}
`

func configured() *config.Config {
	c, err := config.Parse("acme.yaml", []byte(acme), time.Unix(1, 0))
	if err != nil {
		panic(err)
	}
	return c
}

func want[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}
