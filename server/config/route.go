package config

import (
	"cmp"
	"slices"
)

// maxTargets is how many targets of a request the engine looks at.
const maxTargets = 16

// readRoutes reads `routes:`, whose targets must be among what the accounts offer.
func (r *organizationReader) readRoutes(f fields, accounts []Account) []Route {
	offered := make(map[string][]string, len(accounts)) // by account
	var names []string
	for _, a := range accounts {
		names = append(names, a.Name)
		offered[a.Name] = nil
		for _, p := range a.Pools {
			for _, m := range p.Models {
				offered[a.Name] = append(offered[a.Name], m.Name)
			}
		}
	}
	var routes []Route
	for _, e := range f.named("routes", checkName) {
		routes = append(routes, r.readRoute(e, names, offered))
	}
	slices.SortFunc(routes, func(a, b Route) int { return cmp.Compare(a.Name, b.Name) })
	return routes
}

func (r *organizationReader) readRoute(e entry, accounts []string, offered map[string][]string) Route {
	route := Route{Name: e.key.text}
	f := r.fields(e.value, "the route "+route.Name, "targets", "min_quality")
	before := r.failures
	items := f.list("targets")
	if len(items) == 0 && r.failures == before {
		r.fail(e.key, "", "the route %s has no targets", route.Name)
	}
	if len(items) > maxTargets {
		r.fail(items[maxTargets], "", "the route %s has more than %d targets", route.Name, maxTargets)
		return route
	}
	var whens []*node // of the targets, the places of their when_above
	for _, n := range items {
		t, when, ok := r.readTarget(n, route.Name, accounts, offered)
		if !ok {
			continue
		}
		same := func(o RouteTarget) bool { return o.Account == t.Account && o.Model == t.Model }
		if slices.ContainsFunc(route.Targets, same) {
			r.fail(n, "", "%s at %s is listed twice in the route %s", t.Model, t.Account, route.Name)
			continue
		}
		route.Targets = append(route.Targets, t)
		whens = append(whens, when)
	}
	route.MinQuality = int(f.share("min_quality", 3, 0, 0, 1000))
	if r.failures > before {
		return route
	}
	best := 0
	for i, t := range route.Targets {
		best = max(best, t.Quality)
		if t.Above > 0 && !hasBetter(route.Targets, i) {
			r.fail(whens[i], "", "when_above: the route %s has no better target than %s at %s to be used first",
				route.Name, t.Model, t.Account)
		}
	}
	if route.MinQuality > best {
		r.fail(f.where("min_quality"), "", "min_quality is above every target of the route %s: the best is %s",
			route.Name, fraction(int64(best), 3))
	}
	return route
}

// hasBetter says whether a target is outdone by one of higher quality, or by an earlier
// one of the same.
func hasBetter(targets []RouteTarget, i int) bool {
	for j, t := range targets {
		if t.Quality > targets[i].Quality || t.Quality == targets[i].Quality && j < i {
			return true
		}
	}
	return false
}

func (r *organizationReader) readTarget(n *node, route string, accounts []string, offered map[string][]string) (t RouteTarget, when *node, ok bool) {
	before := r.failures
	f := r.fields(n, "a target of the route "+route, "account", "model", "quality", "when_above")
	if r.failures > before {
		return t, nil, false
	}
	for _, key := range []string{"account", "model"} {
		if f.value(key) == nil {
			r.fail(n, "", "a target of the route %s has no %s", route, key)
		}
	}
	t.Account, t.Model = f.text("account", ""), f.text("model", "")
	t.Quality = int(f.share("quality", 3, 1000, 0, 1000))
	t.Above = int(f.share("when_above", 3, 0, 1, 1000))
	if t.Account == "" || t.Model == "" { // told, one way or another
		return t, nil, false
	}
	if _, known := offered[t.Account]; !known {
		r.fail(f.value("account"), r.nearest(t.Account, accounts), "unknown account %s in the route %s", quote(t.Account), route)
		return t, nil, false
	}
	pool, found := r.poolModels[poolModel{t.Account, t.Model}]
	if !found {
		r.fail(f.value("model"), r.nearest(t.Model, offered[t.Account]),
			"the account %s has no pool with the model %s", t.Account, quote(t.Model))
		return t, nil, false
	}
	t.Pool = pool
	return t, f.where("when_above"), true
}
