package watermaster

import (
	"net/http"
	"net/url"
	"strings"
)

// baseURLs are the addresses of providers whose accounts need not name one.
var baseURLs = map[string]string{
	"openai":     "https://api.openai.com/v1",
	"groq":       "https://api.groq.com/openai/v1",
	"mistral":    "https://api.mistral.ai/v1",
	"deepseek":   "https://api.deepseek.com",
	"together":   "https://api.together.xyz/v1",
	"fireworks":  "https://api.fireworks.ai/inference/v1",
	"openrouter": "https://openrouter.ai/api/v1",
	"anthropic":  "https://api.anthropic.com",
}

// keyring has the keys of a worker: that of its SDK, by the name of its account, and those of
// other accounts.
type keyring struct {
	account string // "": the SDK's key is for any account that is where its requests go
	keys    map[string]string
}

// accounts are those that may be asked for; nil: it is not known, see wire.providers.
func (k keyring) accounts() []string {
	if k.account == "" {
		return nil
	}
	names := []string{k.account}
	for name := range k.keys {
		if name != k.account {
			names = append(names, name)
		}
	}
	return names
}

// providers are those that may be asked for where accounts are not known.
func (k keyring) providers(w wire, host string) []string {
	switch {
	case k.account != "":
		return nil
	case len(k.keys) > 0:
		return w.providers()
	}
	return w.providersAt(host)
}

// way is how a request goes to a target.
type way struct {
	url   *url.URL
	model string // "": as the body has it
	// The header that takes the place of all keys of the request; "": they stay.
	keyHeader, key string
}

// follow finds the way from where a request would go to a target of a grant. Not ok: there is
// none for this worker. routed: a route was asked for, so that the model is the target's.
func (k keyring) follow(u *url.URL, r *payload, routed bool, target *Target) (w way, ok bool) {
	key, base := k.keys[target.Account], target.Attributes["base_url"]
	named := k.account != "" && target.Account == k.account
	own := named || k.account == "" && key == "" && (base == "" || sameHost(base, u))
	if key == "" && !own || !named && !r.wire.spokenBy(target.Provider) {
		return w, false
	}
	w.url = u
	if routed || !own {
		w.model = target.Model
	}
	if key != "" {
		w.keyHeader, w.key = keyHeader(target.Provider, key)
	}
	if own && (base == "" || !named) {
		w.stay(r, target)
		return w, true
	}
	return w, w.move(r.wire, target, base)
}

// stay keeps the request's address, but for the deployment of Azure's paths.
func (w *way) stay(r *payload, target *Target) {
	_, at := deploymentOf(w.url.Path)
	if at.to == 0 {
		return
	}
	if len(r.models) == 0 {
		w.model = "" // the path names it
	}
	if deployment := target.Attributes["deployment"]; deployment != "" {
		w.url = withPath(w.url, w.url.Path[:at.from]+deployment+w.url.Path[at.to:])
	}
}

// move goes to another address.
func (w *way) move(wire wire, target *Target, base string) bool {
	if base = first(base, baseURLs[target.Provider]); base == "" {
		return false
	}
	to, err := url.Parse(base)
	if err != nil || to.Host == "" {
		return false
	}
	query := without(w.url.RawQuery, "api-version")
	path := strings.TrimRight(to.Path, "/")
	switch target.Provider {
	case "azure":
		path = strings.TrimSuffix(strings.TrimSuffix(path, "/v1"), "/openai") + "/openai"
		deployment := first(target.Attributes["deployment"], target.Model)
		version := target.Attributes["api_version"]
		if version == "" || wire == wireResponses {
			path += "/v1"
			w.model = deployment
			break
		}
		path += "/deployments/" + deployment
		query = strings.TrimPrefix(query+"&api-version="+url.QueryEscape(version), "&")
	case "anthropic":
		path = strings.TrimSuffix(path, "/v1") + "/v1"
	}
	w.url = withPath(to, path+wire.endpoint())
	w.url.RawQuery = query
	return true
}

func withPath(u *url.URL, path string) *url.URL {
	to := *u
	to.Path, to.RawPath = path, ""
	return &to
}

// without takes a parameter out of a query; the others stay as they are written.
func without(query, name string) string {
	if !strings.Contains(query, name) {
		return query
	}
	kept := ""
	for p := range strings.SplitSeq(query, "&") {
		if key, _, _ := strings.Cut(p, "="); !strings.EqualFold(key, name) {
			kept += "&" + p
		}
	}
	return strings.TrimPrefix(kept, "&")
}

// keyHeader gives the header that a provider wants its key in. Azure takes a token of Entra,
// too, which is written with its scheme.
func keyHeader(provider, key string) (name, value string) {
	switch {
	case provider == "anthropic":
		return "X-Api-Key", key
	case provider == "azure" && !strings.HasPrefix(key, "Bearer "):
		return "Api-Key", key
	case provider == "azure":
		return "Authorization", key
	}
	return "Authorization", "Bearer " + key
}

// accountHeaders speak of the account that a request was made for, and must not reach another.
var accountHeaders = []string{"Authorization", "X-Api-Key", "Api-Key", "Openai-Organization", "Openai-Project"}

// apply puts the way's key into the headers of a request.
func (w *way) apply(h http.Header) {
	if w.keyHeader == "" {
		return
	}
	for _, name := range accountHeaders {
		h.Del(name)
	}
	h.Set(w.keyHeader, w.key)
}
