package limiter

import "time"

// meterSlots is how many parts a meter's window has.
const meterSlots = 20

// A meter tells what each class was charged over about the last window. It serves those
// who look; no decision reads it.
type meter struct {
	slots []int64 // meterSlots × classes; nil: not metered
	sums  []int64 // by class
	slot  int64   // time / slot length of the newest slot
	ends  Time    // of the newest slot
}

func newMeter(classes int) meter {
	return meter{slots: make([]int64, meterSlots*classes), sums: make([]int64, classes)}
}

// turn empties the slots that have left the window.
func (m *meter) turn(now Time, window time.Duration) {
	if now < m.ends {
		return
	}
	length := max(1, int64(window)/meterSlots)
	slot := int64(now) / length
	m.ends = Time((slot + 1) * length)
	if slot <= m.slot {
		return
	}
	n := len(m.sums)
	for s := max(m.slot+1, slot-meterSlots+1); s <= slot; s++ {
		old := m.slots[int(s%meterSlots)*n:][:n]
		for c := range old {
			m.sums[c] -= old[c]
			old[c] = 0
		}
	}
	m.slot = slot
}

func (m *meter) add(now Time, window time.Duration, class uint8, amount int64) {
	if m.slots == nil {
		return
	}
	m.turn(now, window)
	m.slots[int(m.slot%meterSlots)*len(m.sums)+int(class)] += amount
	m.sums[class] += amount
}

// sub takes back in the newest slot; a sum is right again a window later.
func (m *meter) sub(now Time, window time.Duration, class uint8, amount int64) {
	if m.slots == nil {
		return
	}
	m.turn(now, window)
	m.slots[int(m.slot%meterSlots)*len(m.sums)+int(class)] -= amount
	m.sums[class] -= amount
}
