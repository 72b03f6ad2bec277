package envoy

import (
	"encoding/json"
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	typed "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/watermaster-project/watermaster/limiter"
)

// What the filters behind are told.
func TestDynamicMetadata(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - {key: a, quota_mode: true, rate_limit: {unit: day}, metadata: {backend: a, weight: 1.5, list: [1, yes, true, null, {x: "1"}]}}
  - {key: b, quota_mode: true, rate_limit: {unit: day}, metadata: {backend: b, only: b}}
  - {key: c, rate_limit: {unlimited: true}, metadata: {free: 0x10}}
`)
	hits := descriptor("a", "1", "x", "2")
	hits.HitsAddend = wrapperspb.UInt64(7)
	limited := descriptor("z", "1")
	limited.Limit = &common.RateLimitDescriptor_RateLimitOverride{RequestsPerUnit: 5, Unit: typed.RateLimitUnit_HOUR}
	for _, row := range []struct {
		rule string
		d    []*common.RateLimitDescriptor
		over []bool
		hits uint32
		want string
	}{
		{"what passed, the later before the earlier", []*common.RateLimitDescriptor{descriptor("a", "1"), descriptor("b", "1"), descriptor("c", "")},
			[]bool{false, false}, 0, `{"backend":"b","descriptors":[{"entries":["a=1"]},{"entries":["b=1"]},{"entries":["c="]}],"domain":"d","free":16,"list":[1,true,true,null,{"x":"1"}],"only":"b","quotaModeEnabled":true,"weight":1.5}`},
		{"not what is over", []*common.RateLimitDescriptor{descriptor("a", "1"), descriptor("b", "1")},
			[]bool{false, true}, 0, `{"backend":"a","descriptors":[{"entries":["a=1"]},{"entries":["b=1"]}],"domain":"d","list":[1,true,true,null,{"x":"1"}],"quotaModeEnabled":true,"quotaModeViolations":[1],"weight":1.5}`},
		{"the request's hits, a descriptor's, and its limit", []*common.RateLimitDescriptor{hits, limited},
			[]bool{false}, 3, `{"descriptors":[{"entries":["a=1","x=2"],"hitsAddend":7},{"entries":["z=1"],"limit":"requests_per_unit:5 unit:HOUR"}],"domain":"d","hitsAddend":3,"quotaModeEnabled":false}`},
	} {
		req := request("d", row.d...)
		req.HitsAddend = row.hits
		m := &Match{}
		if err := l.Domain("d").Match(req, m); err != nil {
			t.Fatal(err)
		}
		var events []limiter.Event
		for _, over := range row.over {
			events = append(events, limiter.Event{Over: over})
		}
		got, err := json.Marshal(m.Response(events, Answering{DynamicMetadata: true}).DynamicMetadata.AsMap())
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != row.want {
			t.Errorf("%s:\ngot  %s\nwant %s", row.rule, got, row.want)
		}
	}
	if m := match(t, l, descriptor("a", "1")).Response(make([]limiter.Event, 1), Answering{}).DynamicMetadata; m != nil {
		t.Errorf("off by default: got %v", m)
	}
}
