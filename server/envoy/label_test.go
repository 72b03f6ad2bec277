package envoy

import (
	"fmt"
	"strings"
	"testing"

	common "github.com/envoyproxy/go-control-plane/envoy/extensions/common/ratelimit/v3"
	typed "github.com/envoyproxy/go-control-plane/envoy/type/v3"
)

// What metrics name limits by.
func TestLabels(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - {key: plain, rate_limit: {unit: day}}
  - {key: plain, value: v, rate_limit: {unit: day}}
  - {key: plain, value: w*, rate_limit: {unit: day}}
  - {key: detailed, detailed_metric: true, rate_limit: {unit: day}}
  - key: outer
    descriptors:
      - {key: detailed, value: x*, detailed_metric: true, rate_limit: {unit: day}}
  - key: route
    value_to_metric: true
    descriptors:
      - key: method
        value_to_metric: true
        descriptors: [{key: subject, rate_limit: {unit: day}}]
      - key: action
        value: read*
        value_to_metric: true
        descriptors: [{key: subject, rate_limit: {unit: day}}]
      - key: files
        value: files/*
        share_threshold: true
        value_to_metric: true
        descriptors: [{key: subject, rate_limit: {unit: day}}]
      - {key: all, detailed_metric: true, rate_limit: {unit: day}}
  - key: files
    value: files/*
    share_threshold: true
    detailed_metric: true
    rate_limit: {unit: day}
`)
	override := descriptor("a", "1", "b", "2")
	override.Limit = &common.RateLimitDescriptor_RateLimitOverride{Unit: typed.RateLimitUnit_HOUR}
	labels := NewLabels(100)
	for _, row := range []struct {
		rule string
		of   *common.RateLimitDescriptor
		want string
	}{
		{"without the value of a bare key", descriptor("plain", "x"), "d.plain"},
		{"with a value that the file has", descriptor("plain", "v"), "d.plain_v"},
		{"with a wildcard as the file has it", descriptor("plain", "wow"), "d.plain_w*"},
		{"detailed_metric: with the value", descriptor("detailed", "x"), "d.detailed_x"},
		{"detailed_metric: with all values", descriptor("outer", "o", "detailed", "xyz"), "d.outer_o.detailed_xyz"},
		{"value_to_metric: with those of its keys", descriptor("route", "api", "method", "GET", "subject", "123"), "d.route_api.method_GET.subject"},
		{"value_to_metric: with what a wildcard fits", descriptor("route", "api", "action", "readfile", "subject", "123"), "d.route_api.action_readfile.subject"},
		{"value_to_metric: but not with what is shared", descriptor("route", "api", "files", "files/a", "subject", "123"), "d.route_api.files_files/*.subject"},
		{"detailed_metric goes before value_to_metric", descriptor("route", "api", "all", "1"), "d.route_api.all_1"},
		{"detailed_metric: but not with what is shared", descriptor("files", "files/a"), "d.files_files/*"},
		{"an override with all values", override, "d.a_1.b_2"},
		{"long ones are cut", descriptor("detailed", strings.Repeat("x", 1000)), "d.detailed_" + strings.Repeat("x", 256-11)},
	} {
		m := match(t, l, row.of)
		if got := labels.Of(m, 0); got != row.want {
			t.Errorf("%s: got %s, want %s", row.rule, got, row.want)
		}
	}
}

// Values come from outside: there are not more labels than a bound, and rules that need none
// of them are not among those left out.
func TestLabelsAreBounded(t *testing.T) {
	l := parse(t, `
domain: d
descriptors:
  - {key: detailed, detailed_metric: true, rate_limit: {unit: day}}
  - {key: plain, rate_limit: {unit: day}}
`)
	labels := NewLabels(2)
	for i, want := range []string{"d.detailed_0", "d.detailed_1", OtherLabel, OtherLabel} {
		if got := labels.Of(match(t, l, descriptor("detailed", fmt.Sprint(i))), 0); got != want {
			t.Errorf("label %d: got %s, want %s", i, got, want)
		}
	}
	for _, row := range [][2]string{{"detailed", "d.detailed_1"}, {"plain", "d.plain"}} {
		if got := labels.Of(match(t, l, descriptor(row[0], "1")), 0); got != row[1] {
			t.Errorf("after that: got %s, want %s", got, row[1])
		}
	}
}
