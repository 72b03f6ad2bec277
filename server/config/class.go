package config

import (
	"cmp"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

const (
	// maxClasses is how many classes the engine has room for.
	maxClasses = 16
	// maxPatience is the longest wait that a class may have.
	maxPatience = 7 * day
	// standard is the class of a request that says nothing.
	standard = "standard"

	defaultMaxWait = 2 * time.Minute
)

// defaultClasses are in force where `priority_classes:` is missing.
func defaultClasses() []Class {
	return []Class{
		{limiter.ClassSpec{Name: "interactive", Weight: 16, Reserve: 50_000}, 10 * time.Second},
		{limiter.ClassSpec{Name: standard, Weight: 4, Paced: true}, defaultMaxWait},
		{limiter.ClassSpec{Name: "batch", Weight: 1, MaxWaiting: 5000, Paced: true}, time.Hour},
	}
}

// missingStandard tells that nothing is called standard, where something is spelled
// nearly so.
func (r *reader) missingStandard(at *node, classes []entry) {
	hint := ""
	for _, e := range classes {
		if r.nearest(e.key.text, []string{standard}) != "" {
			at, hint = e.key, standard
		}
	}
	r.fail(at, hint, "there is no class %s: it is the class of a request that says nothing", standard)
}

// readClasses reads `priority_classes:`, which replace the defaults.
func (r *reader) readClasses(top fields) []Class {
	if top.value("priority_classes") == nil {
		return defaultClasses()
	}
	before := r.failures
	entries := top.named("priority_classes", checkName)
	if len(entries) > maxClasses {
		r.fail(entries[maxClasses].key, "", "more than %d priority classes", maxClasses)
		return nil
	}
	var classes []Class
	paced := make(map[string]*bool)
	reserved := int64(0)
	for _, e := range entries {
		f := r.fields(e.value, "the class "+e.key.text, "weight", "max_wait", "reserve", "max_waiting", "paced")
		c := Class{MaxWait: f.duration("max_wait", defaultMaxWait, 0, maxPatience)}
		c.Name = e.key.text
		c.Weight = int(f.whole("weight", 1, 1, maxWeight))
		c.Reserve = uint32(f.share("reserve", 6, 0, 0, million))
		c.MaxWaiting = int(f.whole("max_waiting", 0, 1, maxPeople))
		paced[c.Name] = f.flag("paced")
		reserved += int64(c.Reserve)
		classes = append(classes, c)
	}
	at := top.where("priority_classes")
	if reserved >= million {
		r.fail(at, "", "the reserves of the classes add up to %s%%, so that nothing is left for the lightest", fraction(reserved*100, 6))
	}
	if _, ok := paced[standard]; !ok && r.failures == before {
		r.missingStandard(at, entries)
	}
	slices.SortStableFunc(classes, func(a, b Class) int { return cmp.Compare(b.Weight, a.Weight) })
	for i := range classes {
		// What nobody outranks need not be held to an even rate for anybody's sake.
		classes[i].Paced = classes[i].Weight < classes[0].Weight
		if p := paced[classes[i].Name]; p != nil {
			classes[i].Paced = *p
		}
	}
	return classes
}
