package top

import (
	"time"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// A State is all that a screen shows.
type State struct {
	// The latest message; nil before the first.
	Headroom *pb.Headroom
	// How long ago it came: what it says of times is older by that. ≥ 0.
	Age time.Duration
	// The server's, as it was given.
	Address string
	// Why there is no connection, while it is tried again. Empty: nothing is wrong.
	Trouble string
	// Whether the server has said anything since it was connected to.
	Connected bool

	Order  Order
	Filter string // part of a scope or a limit's name; "" for all
	Typing bool   // the filter is being typed
	// The limit that is marked. The zero value: whichever is the first.
	Marked Key
	// The first limit that is seen, of those in order and not filtered out.
	Offset int
	// How the marked limit is used: its classes and largest consumers.
	Details bool
	Help    bool
	// The processes that serve the organization, instead of its limits.
	Replicas bool

	Palette Palette
	Zone    *time.Location // for times of day; nil is UTC
}

// A Key names a limit of an organization.
type Key struct{ Scope, Name, Metric string }

func keyOf(l *pb.LimitHeadroom) Key { return Key{l.GetScope(), l.GetName(), l.GetMetric()} }

// zone is where times of day are told.
func (s *State) zone() *time.Location {
	if s.Zone == nil {
		return time.UTC
	}
	return s.Zone
}

// rows are the limits that the state shows, in their order.
func (s *State) rows() []row { return rowsOf(s.Headroom, s.Age, s.Order, s.Filter) }

// marked gives the index of the marked limit; 0 if it is not there.
func (s *State) marked(rows []row) int {
	for i := range rows {
		if keyOf(rows[i].limit) == s.Marked {
			return i
		}
	}
	return 0
}

// scroll moves the first row that is seen so that the marked one is among the n seen.
func (s *State) scroll(rows []row, n int) {
	at := s.marked(rows)
	n = max(1, n)
	s.Offset = max(0, min(s.Offset, at, len(rows)-n))
	if at >= s.Offset+n {
		s.Offset = at - n + 1
	}
}
