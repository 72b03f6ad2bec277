// What package replica asks of the engine, until that has it.
package limiter

import "time"

type Loss struct {
	History  uint64
	Restores bool
}
type Upgrade struct{ Behaviour uint32 }
type Peer struct {
	Incarnation uint64
	Behaviour   uint32
	Heard       Time
	Number      uint64
	Waiting     int
}

func (*Loss) kind() commandKind    { return kindTick }
func (*Upgrade) kind() commandKind { return kindTick }

var stubSeen = map[*Engine]map[uint64]uint64{}
var stubN = map[*Engine]uint64{}

func (e *Engine) Begin(i, n uint64, now Time) bool {
	m := stubSeen[e]
	if m == nil {
		m = map[uint64]uint64{}
		stubSeen[e] = m
	}
	stubN[e]++
	if n <= m[i] {
		return false
	}
	m[i] = n
	return true
}
func (e *Engine) Entries() uint64                                { return stubN[e] }
func (e *Engine) Behaviour() uint32                              { return 1 }
func (e *Engine) Missing(uint64) bool                            { return false }
func (e *Engine) RollCall() (Time, int, bool)                    { return 0, 0, false }
func (e *Engine) Peers(to []Peer) []Peer                         { return to }
func (e *Engine) Lost(log *Engine, to []LeaseState) []LeaseState { return to }
func (e *Engine) Waits(k Key) (LeaseID, bool) {
	t := e.keys[k]
	if t == nil || t.state != ticketWaiting {
		return LeaseID{}, false
	}
	return t.lease, true
}
func (e *Engine) Hold() time.Duration { return time.Hour }
