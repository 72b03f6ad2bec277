package watermaster

import (
	"net/url"
	"slices"
	"strings"
)

// wire is the form of a request and its answer.
type wire string

const (
	wireChat        wire = "chat"
	wireCompletions wire = "completions"
	wireResponses   wire = "responses"
	wireEmbeddings  wire = "embeddings"
	wireMessages    wire = "messages"
	wireImages      wire = "images"
)

// endpoints are the ends of paths by which a wire is known; the first match counts.
var endpoints = []struct {
	path string
	wire wire
}{
	{"/chat/completions", wireChat},
	{"/completions", wireCompletions},
	{"/responses", wireResponses},
	{"/embeddings", wireEmbeddings},
	{"/messages", wireMessages},
	{"/images/generations", wireImages},
}

// wireOf gives the wire of a path; "": its calls are not limited.
func wireOf(path string) wire {
	path = strings.TrimSuffix(path, "/")
	for _, e := range endpoints {
		if strings.HasSuffix(path, e.path) {
			return e.wire
		}
	}
	return ""
}

// endpoint is the path of the wire below a provider's address.
func (w wire) endpoint() string {
	for _, e := range endpoints {
		if e.wire == w {
			return e.path
		}
	}
	return ""
}

// extras are the choices of an answer's extra chunk with the usage: what may be asked for by
// stream_options.
func (w wire) extras() bool { return w == wireChat || w == wireCompletions }

var (
	// Who speaks OpenAI's older wires, and who the newer.
	speakers    = []string{"openai", "azure", "groq", "mistral", "deepseek", "together", "fireworks", "openrouter", "generic"}
	newSpeakers = []string{"openai", "azure", "generic"}
	anthropic   = []string{"anthropic"}
)

// providers are those that speak the wire.
func (w wire) providers() []string {
	switch w {
	case wireMessages:
		return anthropic
	case wireResponses, wireImages:
		return newSpeakers
	}
	return speakers
}

func (w wire) spokenBy(provider string) bool { return slices.Contains(w.providers(), provider) }

// providersAt are those whose account the request's own key may be for, by where it goes.
func (w wire) providersAt(host string) []string {
	switch host = strings.ToLower(host); {
	case host == "api.openai.com":
		return speakers[:1]
	case host == "api.anthropic.com":
		return anthropic
	case strings.HasSuffix(host, ".openai.azure.com"), strings.HasSuffix(host, ".cognitiveservices.azure.com"):
		return speakers[1:2]
	}
	return w.providers()
}

// deploymentOf gives the NAME of an Azure path's /deployments/NAME/, as a part of the path.
func deploymentOf(path string) (name string, at span) {
	const before = "/deployments/"
	i := strings.Index(path, before)
	if i < 0 {
		return "", at
	}
	from := i + len(before)
	n := strings.IndexByte(path[from:], '/')
	if n <= 0 {
		return "", at
	}
	return path[from : from+n], span{from, from + n}
}

// sameHost says whether an address is at the host and port that a URL goes to.
func sameHost(address string, u *url.URL) bool {
	a, err := url.Parse(address)
	return err == nil && strings.EqualFold(hostPort(a), hostPort(u))
}

func hostPort(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return u.Hostname() + ":" + port
}
