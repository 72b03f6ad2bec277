package server

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// boardEvery is how often the readable copy of the budgets is made at most.
const boardEvery = time.Second

// board makes the copy of the budgets that stands readable beside the log, if the log has room
// for one, some time after something has changed. Of many changes it is made once.
func (o *organization) board() {
	if o.shows == nil || o.closed || !o.showing.CompareAndSwap(false, true) {
		return
	}
	o.showLater.Reset(boardEvery)
}

// show puts up the copy. A log that is away goes without.
func (o *organization) show() {
	o.mu.Lock()
	if o.ended {
		o.mu.Unlock()
		return
	}
	o.background.Go(func() {
		o.showing.Store(false)
		o.replica.Lock()
		if o.replica.Lost() {
			o.replica.Unlock()
			return
		}
		rows := o.rows()
		o.replica.Unlock()
		if err := o.shows.Show(context.Background(), o.name, rows); err != nil {
			o.logger.Debug("the readable copy of the budgets could not be put up", "error", err)
		}
	})
	o.mu.Unlock()
}

// rows writes each limit as `used=… reserved=… remaining=… quota=…`, under the name that callers
// know it by, and how many wait in each class. The caller holds the replica's lock.
func (o *organization) rows() map[string]string {
	now := max(o.now(), o.engine().Now())
	e := o.edition.Load()
	rows := map[string]string{"time": time.Unix(0, int64(now)).UTC().Format(time.RFC3339)}
	for _, l := range o.engine().Limits(now) {
		if l.Scope == limiter.ScopeProject && l.Held+l.Reserved == 0 {
			continue // there may be very many
		}
		name := scopeName(l.Scope, l.Owner) + "/" + e.metric(l.Spec.Metric)
		if l.Spec.Name != "" && !strings.HasPrefix(l.Spec.Name, e.metric(l.Spec.Metric)) {
			name += "/" + l.Spec.Name
		} else if l.Spec.Name != "" {
			name = scopeName(l.Scope, l.Owner) + "/" + l.Spec.Name
		}
		var b []byte
		for _, v := range [...]struct {
			name  string
			value int64
		}{{"used", l.Held}, {"reserved", l.Reserved}, {"remaining", max(0, l.Effective-l.Held-l.Reserved)}, {"quota", l.Spec.Quota}} {
			if len(b) > 0 {
				b = append(b, ' ')
			}
			b = append(append(append(b, v.name...), '='), strconv.FormatInt(v.value, 10)...)
		}
		rows[name] = string(b)
	}
	for _, c := range o.engine().Classes() {
		rows["waiting/"+c.Name] = strconv.Itoa(c.Waiting)
	}
	return rows
}
