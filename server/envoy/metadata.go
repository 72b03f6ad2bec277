package envoy

import (
	"fmt"
	"maps"
	"math"
	"strconv"
	"unicode/utf8"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	"go.yaml.in/yaml/v4"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/watermaster-project/watermaster/limiter"
)

// readMetadata reads what a descriptor tells the filters behind when it passes: any mapping.
func (p *parser) readMetadata(f fields) *structpb.Struct {
	n := f.value("metadata")
	if n == nil {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		p.fail(n, "", "metadata must be a mapping, not %s", describe(n))
		return nil
	}
	return p.metadata(n, f.depth+1).GetStructValue()
}

func (p *parser) metadata(n *yaml.Node, depth int) *structpb.Value {
	n = p.follow(n, depth)
	if p.exceeded {
		return structpb.NewNullValue()
	}
	switch n.Kind {
	case yaml.MappingNode:
		s := &structpb.Struct{Fields: make(map[string]*structpb.Value)}
		for key, e := range p.entries(n, "metadata", depth) {
			if !utf8.ValidString(key) {
				p.fail(e.key, "", "metadata must be UTF-8")
				continue
			}
			s.Fields[key] = p.metadata(e.value, depth+1)
		}
		return structpb.NewStructValue(s)
	case yaml.SequenceNode:
		l := &structpb.ListValue{}
		for _, item := range n.Content {
			l.Values = append(l.Values, p.metadata(item, depth+1))
		}
		return structpb.NewListValue(l)
	}
	return p.scalar(n)
}

// scalar makes a value of a scalar by what YAML takes it for.
func (p *parser) scalar(n *yaml.Node) *structpb.Value {
	if v, ok := boolean(n); ok {
		return structpb.NewBoolValue(v)
	}
	switch {
	case isNull(n):
		return structpb.NewNullValue()
	case n.Tag == "!!int":
		if v, err := strconv.ParseInt(n.Value, 0, 64); err == nil {
			return structpb.NewNumberValue(float64(v))
		}
	case n.Tag == "!!float":
		if v, err := strconv.ParseFloat(n.Value, 64); err == nil && !math.IsNaN(v) && !math.IsInf(v, 0) {
			return structpb.NewNumberValue(v)
		}
	case !utf8.ValidString(n.Value):
		p.fail(n, "", "metadata must be UTF-8")
	}
	return structpb.NewStringValue(n.Value)
}

// metadata tells the filters behind what a request was, what was over among quota_mode's, and
// what the limits that have room say of themselves: of two that say the same key, the later.
func (m *Match) metadata(events []limiter.Event) *structpb.Struct {
	fields := make(map[string]*structpb.Value)
	var over []*structpb.Value
	quotaMode := false
	for i, rule := range m.Rules {
		c := m.held[i].counter
		if rule == nil || c < 0 && !rule.Unlimited {
			continue
		}
		quotaMode = quotaMode || rule.Quota && c >= 0
		if c >= 0 && events[c].Over {
			if rule.Quota {
				over = append(over, structpb.NewNumberValue(float64(i)))
			}
			continue
		}
		maps.Copy(fields, rule.Metadata.GetFields())
	}
	descriptors := &structpb.ListValue{}
	for _, d := range m.request.GetDescriptors() {
		descriptors.Values = append(descriptors.Values, describeDescriptor(d))
	}
	fields["domain"] = structpb.NewStringValue(m.request.GetDomain())
	fields["descriptors"] = structpb.NewListValue(descriptors)
	fields["quotaModeEnabled"] = structpb.NewBoolValue(quotaMode)
	if len(over) > 0 {
		fields["quotaModeViolations"] = structpb.NewListValue(&structpb.ListValue{Values: over})
	}
	if hits := m.request.GetHitsAddend(); hits != 0 {
		fields["hitsAddend"] = structpb.NewNumberValue(float64(hits))
	}
	return &structpb.Struct{Fields: fields}
}

// describeDescriptor has a descriptor's entries as k=v, its limit, and its hits.
func describeDescriptor(d *common.RateLimitDescriptor) *structpb.Value {
	entries := &structpb.ListValue{}
	for _, e := range d.GetEntries() {
		entries.Values = append(entries.Values, structpb.NewStringValue(e.GetKey()+"="+e.GetValue()))
	}
	fields := map[string]*structpb.Value{"entries": structpb.NewListValue(entries)}
	if o := d.GetLimit(); o != nil {
		fields["limit"] = structpb.NewStringValue(fmt.Sprintf("requests_per_unit:%d unit:%v", o.GetRequestsPerUnit(), o.GetUnit()))
	}
	if hits := d.GetHitsAddend(); hits != nil {
		fields["hitsAddend"] = structpb.NewNumberValue(float64(hits.GetValue()))
	}
	return structpb.NewStructValue(&structpb.Struct{Fields: fields})
}
