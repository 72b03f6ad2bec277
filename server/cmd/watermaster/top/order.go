package top

import (
	"cmp"
	"slices"
	"strings"
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// An Order is what limits are sorted by.
type Order string

// The orders. What is equal stays as the server tells it.
const (
	ByUse     Order = "used"    // the most used first
	ByName    Order = "name"    // the organization's, then pools', then projects', each by name
	ByWaiting Order = "waiting" // the most waiting first
)

// Orders lists them.
func Orders() []Order { return []Order{ByUse, ByName, ByWaiting} }

// A row is a limit with what is told of it in one line.
type row struct {
	limit   *pb.LimitHeadroom
	scope   string // fit to be shown
	name    string
	waiting int64
	longest time.Duration // that any of them has waited
	age     time.Duration // of the message
}

func newRow(l *pb.LimitHeadroom, age time.Duration) row {
	r := row{limit: l, scope: clean(l.GetScope()), name: clean(nameOf(l)), age: age}
	for _, c := range l.GetByClass() {
		if n := c.GetWaiting(); n > 0 {
			r.waiting += n
			r.longest = max(r.longest, c.GetLongestWait().AsDuration()+age)
		}
	}
	return r
}

// nameOf gives a limit's name, with its metric where the name does not begin with it.
func nameOf(l *pb.LimitHeadroom) string {
	if l.GetName() == l.GetMetric() || strings.HasPrefix(l.GetName(), l.GetMetric()+"/") {
		return l.GetName()
	}
	return l.GetName() + " (" + l.GetMetric() + ")"
}

// rowsOf gives the limits whose scope or name has the text of the filter, in whatever case.
func rowsOf(h *pb.Headroom, age time.Duration, order Order, filter string) []row {
	rows := make([]row, 0, len(h.GetLimits()))
	filter = strings.ToLower(filter)
	for _, l := range h.GetLimits() {
		if r := newRow(l, age); strings.Contains(strings.ToLower(r.scope+" "+r.name), filter) {
			rows = append(rows, r)
		}
	}
	switch order {
	case ByName:
	case ByWaiting:
		slices.SortStableFunc(rows, func(a, b row) int {
			return cmp.Or(cmp.Compare(b.waiting, a.waiting), cmp.Compare(b.longest, a.longest), compareUse(a, b))
		})
	default:
		slices.SortStableFunc(rows, compareUse)
	}
	return rows
}

// compareUse compares whole percents: lines that would change places with each message
// cannot be read.
func compareUse(a, b row) int {
	return cmp.Compare(wholePercent(b.limit.GetUtilization()), wholePercent(a.limit.GetUtilization()))
}
