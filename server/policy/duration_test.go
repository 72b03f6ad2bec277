package policy

import (
	"testing"
	"time"
)

func TestSpan(t *testing.T) {
	const ms, s = time.Millisecond, time.Second
	for _, c := range []struct {
		text string
		want time.Duration
		ok   bool
	}{
		{"1s", s, true},
		{"6ms", 6 * ms, true},
		{"7m12s", 432 * s, true},
		{"6m0s", 360 * s, true},
		{"3.114s", 3114 * ms, true},
		{"2h45m0.5s", 2*time.Hour + 45*time.Minute + 500*ms, true},
		{"1d2h", 26 * time.Hour, true},
		{"250us", 250 * time.Microsecond, true},
		{"250µs", 250 * time.Microsecond, true},
		{"7ns", 7, true},
		{"10", 10 * s, true},
		{"0", 0, true},
		{"0.5", 500 * ms, true},
		{" 300 ", 300 * s, true},
		{"7 seconds", 7 * s, true},
		{"1 minute 5 seconds", 65 * s, true},
		{"2 HOURS", 2 * time.Hour, true},
		{"25.082340589s", 25_082_340_589, true},
		{"", 0, false},
		{"s", 0, false},
		{"-1s", 0, false},
		{"1.2.3s", 0, false},
		{"5 apples", 0, false},
		{"1s later", 0, false},
		{"401d", 0, false},
		{"99999999999999999999999h", 0, false},
		{"NaN", 0, false},
		{"inf", 0, false},
		{"1e3", 0, false},
	} {
		if got, ok := parseSpan(c.text); ok != c.ok || ok && got != c.want {
			t.Errorf("%q: got %v %v, want %v %v", c.text, got, ok, c.want, c.ok)
		}
	}
}

func TestLeadingSpan(t *testing.T) {
	for _, c := range []struct {
		text string
		want time.Duration
		rest string
	}{
		{"1.146s. Visit us", 1146 * time.Millisecond, ". Visit us"},
		{"7 seconds. Please", 7 * time.Second, ". Please"},
		{"60. Or not", 60 * time.Second, ". Or not"},
		{"5s 429", 5 * time.Second, " 429"},
		{"3 times", 3 * time.Second, " times"}, // not a unit: seconds
	} {
		if got, rest, ok := leadingSpan(c.text); !ok || got != c.want || rest != c.rest {
			t.Errorf("%q: got %v, %q, %v", c.text, got, rest, ok)
		}
	}
}

func TestDate(t *testing.T) {
	want := time.Date(2026, 11, 5, 14, 30, 0, 0, time.UTC)
	for _, text := range []string{
		"Thu, 05 Nov 2026 14:30:00 GMT", "Thursday, 05-Nov-26 14:30:00 GMT", "Thu Nov  5 14:30:00 2026",
		"2026-11-05T14:30:00Z", "2026-11-05T15:30:00.000+01:00",
	} {
		if got, ok := parseDate(text); !ok || !got.Equal(want) {
			t.Errorf("%s: got %v", text, got)
		}
	}
	if _, ok := parseDate("tomorrow"); ok {
		t.Error("tomorrow is understood")
	}
	for _, c := range []struct {
		to   time.Time
		want time.Duration
		ok   bool
	}{
		{want.Add(time.Minute), time.Minute, true},
		{want.Add(-time.Minute), 0, true},
		{want.AddDate(3, 0, 0), 0, false},
		{want.AddDate(-3, 0, 0), 0, false},
		{time.Time{}, 0, false},
	} {
		if got, ok := until(want, c.to); got != c.want || ok != c.ok {
			t.Errorf("%v: got %v %v, want %v %v", c.to, got, ok, c.want, c.ok)
		}
	}
}
