package watermaster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"net/netip"
	"strings"
	"time"

	"google.golang.org/grpc"
)

// NoWait as a MaxWait means: never queue.
const NoWait time.Duration = -1

// AnyQuality as a MinQuality means: whatever the route asks for, any target will do.
const AnyQuality float64 = -1

// NoRetries as Options.Retries means: hand every failure on.
const NoRetries = -1

// Options configure a Limiter. The zero value will do where the service has one organization,
// the credential names the project, or each call does.
type Options struct {
	// Who owns the limits. Empty: that of the token, or the only one configured.
	Organization string

	// Defaults for each call; see Call.
	Project       string
	PriorityClass string
	Route         string
	MaxWait       time.Duration
	MinQuality    float64
	AffinityKey   string
	Capabilities  []string
	Labels        map[string]string

	// The service's key, sent as "authorization: Bearer".
	Token string
	// How to reach the service. Nil: in plaintext. An empty configuration verifies against the
	// system's roots.
	TLS *tls.Config
	// Sends the token in plaintext beyond loopback, too.
	Insecure bool
	// Added to what each connection is dialled with: interceptors, statistics.
	DialOptions []grpc.DialOption

	// The account of the service's configuration that the SDK's own key belongs to.
	Account string
	// Keys of providers by account. With them targets of these accounts are followed.
	Keys map[string]string
	// How often a transport repeats a failed call. 0: twice. NoRetries: never.
	Retries int

	// What to do while no address answers. Nil: Closed.
	WhenAway Away
	// How long a lease outlives this process; it is renewed while the call runs. 0: 30 s. At
	// least 1 s, at most 24 h.
	LeaseTTL time.Duration
	// Called when the level of pressure or its advice has changed, by the goroutine that was told
	// so. It must not block.
	OnPressure func(Pressure)
	// Counts the tokens of a text as the model does. Not ok: it does not know the model (yet).
	// Nil: an estimate by the number of bytes.
	Tokenizer func(model, text string) (tokens int, ok bool)
}

// Away is what a Limiter does while the service cannot be reached: Closed, Open or Local.
type Away interface{ whenAway() }

type awayMode int

// Closed fails calls with *Unavailable when the caller's patience has ended (30 s if it set none).
// Open lets them go without a lease after a second.
const (
	Closed awayMode = iota
	Open
)

// Local lets calls go without a lease, within these amounts in any 60 s, counted in this process.
type Local struct {
	Requests int64 // 0: any number
	Tokens   int64 // input and the most output; 0: any number
}

func (awayMode) whenAway() {}
func (Local) whenAway()    {}

// Call has what a caller may say of its calls by context. Unset fields leave what Options say.
type Call struct {
	// Who draws on the limits.
	Project string
	// Empty: "standard".
	PriorityClass string
	// A route of the organization; it goes before the model that is asked for.
	Route string
	// Names the request over all of its attempts: unique within the organization, at most 128
	// characters. Empty: a random one.
	RequestID string
	// The whole patience, at most 24 h. 0: the class's. NoWait: never queue.
	MaxWait time.Duration
	// The least quality that will do, up to 1. 0: the route's. AnyQuality: any.
	MinQuality float64
	// Requests with the same key go to the same target while it is usable.
	AffinityKey string
	// Only models that have all of these.
	Capabilities []string
	// Free text for reports, laid over the labels of Options.
	Labels map[string]string
}

type callKey struct{}

// WithCall says call of all calls made with the context. What an outer WithCall has set and this
// one has not stays.
func WithCall(ctx context.Context, call Call) context.Context {
	return context.WithValue(ctx, callKey{}, call.over(callOf(ctx)))
}

func callOf(ctx context.Context) Call {
	call, _ := ctx.Value(callKey{}).(Call)
	return call
}

// over lays what c sets over base.
func (c Call) over(base Call) Call {
	c.Project = first(c.Project, base.Project)
	c.PriorityClass = first(c.PriorityClass, base.PriorityClass)
	c.Route = first(c.Route, base.Route)
	c.RequestID = first(c.RequestID, base.RequestID)
	c.MaxWait = first(c.MaxWait, base.MaxWait)
	c.MinQuality = first(c.MinQuality, base.MinQuality)
	c.AffinityKey = first(c.AffinityKey, base.AffinityKey)
	if c.Capabilities == nil {
		c.Capabilities = base.Capabilities
	}
	switch {
	case len(c.Labels) == 0:
		c.Labels = base.Labels
	case len(base.Labels) > 0:
		labels := maps.Clone(base.Labels)
		maps.Copy(labels, c.Labels)
		c.Labels = labels
	}
	return c
}

func first[T comparable](a, b T) T {
	var unset T
	if a != unset {
		return a
	}
	return b
}

// defaults are the options' fields of Call.
func (o *Options) defaults() Call {
	return Call{
		Project: o.Project, PriorityClass: o.PriorityClass, Route: o.Route, MaxWait: o.MaxWait, MinQuality: o.MinQuality,
		AffinityKey: o.AffinityKey, Capabilities: o.Capabilities, Labels: o.Labels,
	}
}

// retries is how often a transport may repeat a call.
func (o *Options) retries() int {
	if o.Retries == 0 {
		return 2
	}
	return max(o.Retries, 0)
}

// validate fills in what is unset and tells of what cannot be meant.
func (o *Options) validate(addresses []string) error {
	if o.LeaseTTL == 0 {
		o.LeaseTTL = 30 * time.Second
	}
	if o.WhenAway == nil {
		o.WhenAway = Closed
	}
	if o.LeaseTTL < time.Second || o.LeaseTTL > 24*time.Hour {
		return fmt.Errorf("LeaseTTL %v is not within 1 s to 24 h", o.LeaseTTL)
	}
	if local, ok := o.WhenAway.(Local); ok && (local.Requests < 0 || local.Tokens < 0) {
		return errors.New("Local wants amounts of 0 and above")
	}
	if o.MaxWait > 24*time.Hour {
		return fmt.Errorf("MaxWait %v is more than 24 h", o.MaxWait)
	}
	if o.MinQuality > 1 || math.IsNaN(o.MinQuality) {
		return fmt.Errorf("MinQuality %v is more than 1", o.MinQuality)
	}
	if len(addresses) == 0 {
		return errors.New("no address is given")
	}
	for _, address := range addresses {
		host, port, err := net.SplitHostPort(address)
		if err != nil || port == "" {
			return fmt.Errorf("address %q is not host:port", address)
		}
		if o.Token != "" && o.TLS == nil && !o.Insecure && !loopback(host) {
			return fmt.Errorf("the token would go to %s in plaintext: set TLS, or Insecure if the network is trusted", address)
		}
	}
	return nil
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
