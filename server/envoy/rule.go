package envoy

import (
	"time"

	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// A Rule is one limit of a domain, or what a request sets in its place.
type Rule struct {
	ID     int    // its place in Limits.Rules; means nothing after a reload
	Domain string // that it belongs to
	Path   string // domain.key_value.key…, as the files have it; unique. What metrics name it by
	Name   string // what others replace it by; "": nothing does
	File   string // where it is written
	Line   int    // from 1; 0: an override, which is written nowhere

	Unit            rls.RateLimitResponse_RateLimit_Unit
	RequestsPerUnit uint32        // the quota; 0: nothing passes
	Window          time.Duration // of the unit; 0: unlimited

	Unlimited bool     // counts nothing
	Shadow    bool     // is told of, and stops nothing
	Quota     bool     // stops only together with all others of this mode
	Detailed  bool     // metrics tell each of its values apart
	Override  bool     // stands for the limits that requests bring along; quota and unit are theirs
	Replaces  []string // the names of those that do not count beside it
	Metadata  *structpb.Struct

	current *rls.RateLimitResponse_RateLimit // as answers show it; shared, never changed
	telling bool                             // its label depends on the request
}

// Limits are those of a directory. They do not change.
type Limits struct {
	Rules    []*Rule   // of all domains, an override of each included
	Warnings []Problem // what the files say without effect

	domains map[string]*Domain
	names   []string
}

// Domains gives the names of the domains, sorted.
func (l *Limits) Domains() []string { return l.names }

// Domain gives a domain, or nil if there is none of that name. A nil domain can be matched
// against too: it limits nothing.
func (l *Limits) Domain(name string) *Domain { return l.domains[name] }

// A Domain holds the limits of one domain.
type Domain struct {
	Name string

	root     node
	override *Rule
	at       place
}

// A node is a key, or a key and a value, at some depth of a domain's descriptors.
type node struct {
	key, value string
	rule       *Rule
	below      map[string]*node // by key_value, or key
	wildcards  []wildcard       // of those below, in the order of the file

	shared  bool // what the value's wildcard fits is counted together
	valued  bool // metrics tell its values apart
	written place
}

// A place is where something is written.
type place struct {
	file string
	line int
}
