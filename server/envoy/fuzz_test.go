package envoy

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	rls "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/protobuf/proto"

	"github.com/watermaster-project/watermaster/limiter"
)

// canonical writes a domain as a file of which no other can be made that says the same.
func canonical(d *Domain) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "domain: %s\n", text(d.Name))
	b.WriteString("descriptors:\n")
	canonicalBelow(&b, &d.root, "  ")
	return b.Bytes()
}

func canonicalBelow(b *bytes.Buffer, n *node, indent string) {
	var below []*node
	for _, w := range n.wildcards { // in their order
		below = append(below, w.of)
	}
	var rest []*node
	for _, c := range n.below {
		if !slices.Contains(below, c) {
			rest = append(rest, c)
		}
	}
	slices.SortFunc(rest, func(a, b *node) int { return bytes.Compare([]byte(a.name()), []byte(b.name())) })
	for _, c := range append(below, rest...) {
		fmt.Fprintf(b, "%s- key: %s\n%s  value: %s\n", indent, text(c.key), indent, text(c.value))
		fmt.Fprintf(b, "%s  share_threshold: %v\n%s  value_to_metric: %v\n", indent, c.shared, indent, c.valued)
		if r := c.rule; r != nil {
			fmt.Fprintf(b, "%s  shadow_mode: %v\n%s  quota_mode: %v\n%s  detailed_metric: %v\n", indent, r.Shadow, indent, r.Quota, indent, r.Detailed)
			fmt.Fprintf(b, "%s  rate_limit:\n%s    requests_per_unit: %d\n%s    name: %s\n", indent, indent, r.RequestsPerUnit, indent, text(r.Name))
			if r.Unlimited {
				fmt.Fprintf(b, "%s    unlimited: true\n", indent)
			} else {
				fmt.Fprintf(b, "%s    unit: %s\n", indent, units[r.Unit].name)
			}
			fmt.Fprintf(b, "%s    replaces:\n", indent)
			for _, name := range r.Replaces {
				fmt.Fprintf(b, "%s    - name: %s\n", indent, text(name))
			}
		}
		fmt.Fprintf(b, "%s  descriptors:\n", indent)
		canonicalBelow(b, c, indent+"  ")
	}
}

// text writes a scalar that YAML reads back as it is.
func text(s string) string {
	var b bytes.Buffer
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteString(`\` + string(r))
		case r < ' ' || r >= 0x7f:
			fmt.Fprintf(&b, `\U%08X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// Whatever is in a file, it is refused or read, and what is read can be written and read
// again as the same.
func FuzzParse(f *testing.F) {
	f.Add([]byte(modes))
	f.Add([]byte(limit("unit: day, requests_per_unit: 1, name: n, replaces: [{name: m}]")))
	f.Add([]byte("domain: &a d\ndescriptors: [{key: *a, value: 'x*y*', share_threshold: yes, metadata: {a: [1, {b: ~}]}}]"))
	f.Add([]byte("domain: d\ndescriptors:\n- &b {key: \"k\\0\", value: \"\\n: #\"}\n- {<<: *b, key: l*}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := Parse([]File{{"a", data}}, Options{})
		if err != nil {
			if len(problems(err)) == 0 {
				t.Fatalf("not a list of problems: %v", err)
			}
			return
		}
		for _, name := range l.Domains() {
			first := canonical(l.Domain(name))
			if len(first) > MaxFile {
				continue // aliases were written out
			}
			again, err := Parse([]File{{"b", first}}, Options{})
			if err != nil {
				t.Fatalf("not read again: %v\n%s", err, first)
			}
			if second := canonical(again.Domain(name)); !bytes.Equal(first, second) {
				t.Fatalf("read again as another:\n%s\n%s", first, second)
			}
		}
	})
}

// Whatever a request is, it is an error and charges nothing, or has an answer with a status for
// each descriptor and a code that is known.
func FuzzMatch(f *testing.F) {
	add := func(req *rls.RateLimitRequest) {
		data, err := proto.Marshal(req)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(modes), data, byte(0))
		f.Add([]byte(modes), data, byte(0xff))
	}
	for _, key := range []string{"plain", "shadow", "quota", "free", "unknown"} {
		add(request("d", descriptor(key, "v"), descriptor("instead", "v")))
	}
	add(&rls.RateLimitRequest{Domain: "d", Descriptors: []*common.RateLimitDescriptor{{
		Limit: &common.RateLimitDescriptor_RateLimitOverride{Unit: 99},
	}}})
	l, err := Parse([]File{{"modes", []byte(modes)}}, Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, file, data []byte, over byte) {
		var req rls.RateLimitRequest
		if proto.Unmarshal(data, &req) != nil {
			return
		}
		limits := l
		if own, err := Parse([]File{{"a", file}}, Options{}); err == nil && own.Domain(req.Domain) != nil {
			limits = own
		}
		m := &Match{}
		if err := limits.Domain(req.Domain).Match(&req, m); err != nil {
			if len(m.Hit.Counters) > 0 || len(m.Rules) > 0 {
				t.Fatalf("%v, and yet there are %d counters to charge", err, len(m.Hit.Counters))
			}
			return
		}
		events := make([]limiter.Event, len(m.Hit.Counters))
		for i, c := range m.Hit.Counters {
			if c.Quota < 0 || c.Window <= 0 || c.Amount > maxAmount || c.Amount < -maxAmount {
				t.Fatalf("counter %d: %+v", i, c)
			}
			events[i].Over = over>>(i%8)&1 > 0
		}
		for i := range m.Rules {
			if m.Rules[i] != nil {
				m.AppendLabel(nil, i)
			}
		}
		r := m.Response(events, Answering{Headers: &DefaultHeaders, DynamicMetadata: true})
		if got, want := len(r.Statuses), len(req.Descriptors); got != want {
			t.Fatalf("got %d statuses, want %d", got, want)
		}
		if r.OverallCode == rls.RateLimitResponse_UNKNOWN {
			t.Fatal("the code is UNKNOWN")
		}
		for _, h := range r.ResponseHeadersToAdd {
			if _, err := strconv.ParseUint(h.Value, 10, 64); err != nil {
				t.Fatalf("header %s: %v", h.Key, err)
			}
		}
		if _, err := proto.Marshal(r); err != nil {
			t.Fatalf("the answer cannot be sent: %v", err)
		}
	})
}
