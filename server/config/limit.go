package config

import (
	"cmp"
	"math/bits"
	"slices"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

const (
	// maxQuota is the largest quota, in the metric's unit; of money it is $1G.
	maxQuota = 1_000_000_000_000_000
	million  = 1_000_000
)

// shapeNames are the shapes, by number.
var shapeNames = []string{"sliding_window", "token_bucket", "calendar", "stock"}

func shapeName(s limiter.Shape) string { return shapeNames[s] }

// A limitScope is what the limits of one organization, project or pool have in common.
type limitScope struct {
	what   string // for messages
	units  map[string]limiter.Metric
	shape  limiter.Shape // of windows for which none is written
	margin uint32        // parts per million
	delay  time.Duration // D
}

// readLimits reads `limits:`, ascending by metric. cost is the place of a limit of cost,
// if there is one.
func (r *reader) readLimits(f fields, s limitScope) (specs []limiter.LimitSpec, cost *node) {
	for _, e := range f.named("limits", func(string) error { return nil }) {
		name := e.key.text
		metric, ok := limiter.BuiltinMetric(name)
		if !ok {
			metric, ok = s.units[name]
		}
		if !ok {
			r.fail(e.key, r.nearestMetric(name, s.units),
				"unknown metric %s in the limits of %s: what is not built in must be listed in `units`", quote(name), s.what)
			continue
		}
		if metric == limiter.Cost {
			cost = e.key
		}
		specs = append(specs, r.readMetric(e, metric, s)...)
	}
	slices.SortStableFunc(specs, func(a, b limiter.LimitSpec) int { return cmp.Compare(a.Metric, b.Metric) })
	return specs, cost
}

// nearestMetric gives the metric that is spelled most like a name.
func (r *reader) nearestMetric(name string, units map[string]limiter.Metric) string {
	if r.errors.full() {
		return ""
	}
	known := limiter.BuiltinMetrics()
	for u := range units { // sorted next, so that the hint is always the same
		known = append(known, u)
	}
	slices.Sort(known)
	return r.nearest(name, known)
}

// readMetric reads the limits of one metric: one, or a list.
func (r *reader) readMetric(e entry, metric limiter.Metric, s limitScope) []limiter.LimitSpec {
	list := []*node{e.value}
	if e.value.kind == sequence {
		list = e.value.items
	}
	if len(list) == 0 || e.value.null {
		r.fail(e.key, "", "%s of %s has no limit: write one, or remove the line", e.key.text, s.what)
		return nil
	}
	var specs []limiter.LimitSpec
	former := renames{reader: r, kind: "limit"}
	for _, n := range list {
		if n.broken {
			continue
		}
		w := writtenLimit{reader: r, limitScope: s, metric: e.key.text, at: n,
			spec: limiter.LimitSpec{Metric: metric, Margin: s.margin, Jitter: s.delay}}
		if n.kind == scalar {
			w.line(n.text)
		} else {
			w.mapping()
		}
		if !w.resolve() {
			continue
		}
		if former.has[w.spec.Name] {
			r.fail(n, "", "%s has two limits named %s: give one a `name`", s.what, quote(w.spec.Name))
		}
		w.spec.Was = former.add(w.fields, w.spec.Name, checkPath)
		specs = append(specs, w.spec)
	}
	former.check()
	return specs
}

// A writtenLimit is a limit as it stands in the file.
type writtenLimit struct {
	*reader
	limitScope
	metric string
	at     *node
	fields fields

	quota, window     string
	quotaAt, windowAt *node
	spec              limiter.LimitSpec
}

// line reads quota/window.
func (w *writtenLimit) line(text string) {
	quota, window, _ := strings.Cut(text, "/")
	w.quota, w.window = strings.TrimSpace(quota), strings.TrimSpace(window)
	w.quotaAt, w.windowAt = w.at, w.at
}

// limitKeys are the keys of a limit's long form.
var limitKeys = []string{"quota", "window", "shape", "burst", "name", "was", "zone", "period", "margin"}

// mapping reads the long form.
func (w *writtenLimit) mapping() {
	w.fields = w.reader.fields(w.at, "the limit of "+w.metric, limitKeys...)
	f := w.fields
	if w.at.kind != mapping {
		return
	}
	if f.value("quota") == nil {
		w.fail(w.at, "", "the limit of %s in %s has no quota", w.metric, w.what)
		return
	}
	w.line(f.text("quota", ""))
	w.quotaAt, w.windowAt = f.value("quota"), f.value("quota")
	for _, key := range []string{"window", "period"} {
		if f.value(key) == nil {
			continue
		}
		if w.window != "" {
			w.fail(f.where(key), "", "the limit of %s has two windows", w.metric)
		}
		w.window, w.windowAt = f.text(key, ""), f.value(key)
	}
	w.spec.Margin = uint32(f.share("margin", 6, int64(w.margin), 0, million))
}

// resolve fills in the limit; it says whether there is one.
func (w *writtenLimit) resolve() bool {
	if w.quotaAt == nil { // told already
		return false
	}
	before := w.failures
	w.spec.Quota = w.amount(w.quotaAt, "quota", w.quota)
	if m := w.spec.Metric; m == limiter.Concurrency || m == limiter.EnqueuedTokens {
		w.resolveStock()
	} else {
		w.resolveWindow()
	}
	if w.failures > before {
		return false
	}
	w.spec.Name = w.metric
	if w.window != "" {
		w.spec.Name += "/" + w.window
	}
	if name := w.fields.has["name"].value; name != nil {
		w.spec.Name = w.fields.text("name", w.spec.Name)
		if err := checkPath(w.spec.Name); err != nil {
			w.fail(name, "", "%v", err)
		}
	}
	w.check()
	return w.failures == before
}

// amount reads a number in the unit of the limit's metric.
func (w *writtenLimit) amount(at *node, what, text string) int64 {
	read := func(s string) (int64, error) { return decimal(s, 0) }
	if w.spec.Metric == limiter.Cost {
		read = dollars
	}
	v, err := read(text)
	switch {
	case err != nil:
		w.fail(at, hintOf(err), "%s: %s %v", w.metric, what, err)
	case v <= 0:
		w.fail(at, "", "%s: a %s of %s lets nothing through: it must be above 0, or the line removed", w.metric, what, text)
	case v > maxQuota:
		w.fail(at, "", "%s: a %s of %s is too large: at most 1e15", w.metric, what, text)
	}
	return v
}

func (w *writtenLimit) resolveStock() {
	w.spec.Shape = limiter.Stock
	if w.window != "" {
		w.fail(w.windowAt, w.quota, "%s is held from grant to release: it has no window", w.metric)
		return
	}
	for _, key := range []string{"burst", "zone"} {
		if w.fields.has[key].key != nil {
			w.fail(w.fields.where(key), "", "%s is held from grant to release: it has no %s", w.metric, key)
		}
	}
	if s := w.shapeWritten(); s != "" && s != "stock" {
		w.fail(w.fields.value("shape"), "stock", "%s is held from grant to release: it has no shape %s", w.metric, s)
	}
}

func (w *writtenLimit) shapeWritten() string {
	if w.fields.has["shape"].key == nil {
		return ""
	}
	return w.fields.choice("shape", shapeNames...)
}

func (w *writtenLimit) resolveWindow() {
	if w.window == "" {
		at := w.quotaAt
		w.fail(at, "", "%s needs a window: write %s/min", w.metric, cmp.Or(w.quota, "1000"))
		return
	}
	span, err := window(w.window)
	if err != nil {
		w.fail(w.windowAt, hintOf(err), "%s: %v", w.metric, err)
		return
	}
	spec := &w.spec
	switch s := w.shapeWritten(); s {
	case "":
		spec.Shape = w.defaultShape(span)
	case "stock":
		w.fail(w.fields.value("shape"), "", "%s has a window: only concurrency and enqueued_tokens are a stock", w.metric)
		return
	default:
		spec.Shape = limiter.Shape(slices.Index(shapeNames, s))
	}
	if spec.Shape == limiter.Calendar {
		if !span.named {
			w.fail(w.windowAt, "", "%s: a calendar limit counts a day, week or month, not %s", w.metric, quote(w.window))
			return
		}
		spec.Period = span.period
		w.resolveZone()
	} else {
		if span.named && span.period == limiter.Month {
			w.fail(w.windowAt, "", "%s: a month has no fixed length: only shape calendar counts one", w.metric)
			return
		}
		spec.Window = span.length
		if w.fields.has["zone"].key != nil {
			w.fail(w.fields.where("zone"), "", "%s: only a calendar limit has a zone", w.metric)
		}
		if w.fields.has["period"].key != nil {
			w.fail(w.fields.where("period"), "", "%s: only a calendar limit has a period: write window", w.metric)
		}
	}
	w.resolveBurst()
}

// defaultShape is what a limit with a window is if it doesn't say. A budget of money is
// meant to begin anew in the morning; a zone or period means nothing but a calendar; a
// burst means nothing but a bucket. No provider is known to fill a budget by the second.
func (w *writtenLimit) defaultShape(s span) limiter.Shape {
	has := func(key string) bool { return w.fields.has[key].key != nil }
	switch {
	case s.named && s.period == limiter.Month, has("period"), has("zone"):
		return limiter.Calendar
	case has("burst"):
		return limiter.TokenBucket
	case w.spec.Metric == limiter.Cost && s.named:
		return limiter.Calendar
	case w.spec.Metric == limiter.Cost:
		return limiter.SlidingWindow
	}
	return w.shape
}

func (w *writtenLimit) resolveZone() {
	if w.fields.has["zone"].key == nil {
		return
	}
	name := w.fields.text("zone", "UTC")
	zone, err := w.reader.zone(name)
	if err != nil {
		w.fail(w.fields.value("zone"), "", "%s: %v", w.metric, err)
	}
	w.spec.Zone = zone
}

func (w *writtenLimit) resolveBurst() {
	if w.spec.Shape == limiter.TokenBucket {
		w.spec.Burst = w.spec.Quota
	}
	if w.fields.has["burst"].key == nil {
		return
	}
	at := w.fields.value("burst")
	if w.spec.Shape != limiter.TokenBucket {
		w.fail(w.fields.where("burst"), "", "%s: only a token_bucket has a burst", w.metric)
		return
	}
	if text := w.fields.text("burst", ""); text != "" {
		w.spec.Burst = w.amount(at, "burst", text)
	}
}

// check tells of a limit that would let nothing through, or nothing safely.
func (w *writtenLimit) check() {
	s := &w.spec
	left := effective(s)
	if left == 0 {
		w.fail(w.at, "", "%s: a margin of %s%% leaves nothing of the quota %s", w.metric, fraction(int64(s.Margin)*100, 6), w.quota)
		return
	}
	if s.Shape == limiter.Calendar || s.Shape == limiter.Stock {
		return
	}
	if s.Window > maxWindow {
		w.fail(w.windowAt, "", "%s: a window of %s is too long: at most 400 days", w.metric, w.window)
		return
	}
	if s.Window <= 2*s.Jitter {
		w.fail(w.windowAt, "", "%s: at D = %s (start_within + transit) a window must be longer than %s, not %s",
			w.metric, short(s.Jitter), short(2*s.Jitter), w.window)
		return
	}
	if s.Shape != limiter.TokenBucket {
		return
	}
	// What flows in during D may meet what was granted before it: B − rD is left.
	flow := inflow(left, s)
	if burst := s.Burst - part(s.Burst, s.Margin); burst <= flow {
		w.fail(w.at, "", "%s: at D = %s a token_bucket of %s must have a burst above %s: shorten start_within, or use sliding_window with a shorter second window",
			w.metric, short(s.Jitter), quote(w.quota+"/"+w.window), w.show(flow))
	}
}

// show writes an amount in the metric's unit.
func (w *writtenLimit) show(v int64) string { return amountText(w.spec.Metric, v) }

// effective is a limit's quota less its margin, as the engine has it.
func effective(s *limiter.LimitSpec) int64 { return s.Quota - part(s.Quota, s.Margin) }

// inflow is what a token bucket of a quota refills in D, rounded down.
func inflow(quota int64, s *limiter.LimitSpec) int64 {
	hi, lo := bits.Mul64(uint64(quota), uint64(s.Jitter))
	flow, _ := bits.Div64(hi, lo, uint64(s.Window)) // D < W/2, so it fits
	return int64(flow)
}

// part gives parts per million of an amount, rounded down.
func part(amount int64, ppm uint32) int64 {
	hi, lo := bits.Mul64(uint64(amount), uint64(ppm))
	q, _ := bits.Div64(hi, lo, million)
	return int64(q)
}
