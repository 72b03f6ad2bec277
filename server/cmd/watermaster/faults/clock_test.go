package faults

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/store/redis/redistest"
)

// Row 14. The wall clock of Redis (libfaketime's) steps by an hour and by a second, forth and back,
// stands, and runs at another speed. That is no matter while a replica lives; one may join.
func TestRedisClock(t *testing.T) {
	heavy(t)
	s, clock := redistest.StartWithClock(t)
	a, b := join(t, budget, s.URL()), join(t, budget, s.URL())
	l := drive(t, a.address, b.address)
	l.granted(0, 5*time.Second)
	for _, row := range []struct {
		name string
		do   func()
	}{
		{"an hour ahead", func() { clock.Set(time.Hour) }},
		{"an hour behind", func() { clock.Set(-time.Hour) }},
		{"right again", func() { clock.Set(0) }},
		{"a second behind", func() { clock.Set(-time.Second) }},
		{"standing", func() { clock.Stop(time.Now()) }},
		{"at half speed", func() { clock.Run(0, 0.5) }},
		{"at double speed", func() { clock.Run(0, 2) }},
	} {
		at := l.now()
		row.do()
		time.Sleep(500 * time.Millisecond)
		late := join(t, budget, s.URL())
		time.Sleep(figure(1500*time.Millisecond, 5*time.Second))
		if r := l.rate(at, l.now()); r < 50 {
			t.Errorf("the clock is %s: %.0f grants a second, want half of 100 and more", row.name, r)
		}
		late.end()
	}
	l.end()
}
