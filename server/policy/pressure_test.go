package policy

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// at gives a time in seconds.
func at(seconds int) limiter.Time { return limiter.Time(seconds) * limiter.Time(time.Second) }

func TestUtilization(t *testing.T) {
	limits := [][]int{{100, 200, 700}, {400, 0, 0}, {50, 350, 100}, {-5, 0, 0}}
	for _, c := range []struct{ class, own, total int }{
		{0, 400, 1000}, // a batch job that fills a limit is nothing to the interactive
		{1, 400, 1000},
		{2, 1000, 1000},
	} {
		if own, total := Utilization(limits, c.class); own != c.own || total != c.total {
			t.Errorf("class %d: got %d of %d, want %d of %d", c.class, own, total, c.own, c.total)
		}
	}
	if own, total := Utilization(nil, 0); own != 0 || total != 0 {
		t.Errorf("got %d of %d without limits", own, total)
	}
}

func TestLoad(t *testing.T) {
	for _, c := range []struct {
		load Load
		want int
	}{
		{Load{Own: 700}, 700},
		{Load{Own: -1}, 0},
		{Load{Own: 700, Wait: 5 * time.Second, MaxWait: 10 * time.Second}, 700},
		{Load{Own: 300, Wait: 5 * time.Second, MaxWait: 10 * time.Second}, 500},
		{Load{Own: 300, Wait: 15 * time.Second, MaxWait: 10 * time.Second}, 1500},
		{Load{Own: 300, Wait: -1, MaxWait: 10 * time.Second}, 300},
		{Load{Own: 300, Wait: 1}, 1000},
		{Load{Own: 300}, 300},
		{Load{Wait: 1<<63 - 1, MaxWait: 1}, maxUtilization},
	} {
		if got := c.load.utilization(); got != c.want {
			t.Errorf("%+v: got %d, want %d", c.load, got, c.want)
		}
	}
}

// It rises at once and falls late, step by step: elevated stays 10 s, high 30 s, saturated not
// at all.
func TestPressure(t *testing.T) {
	s := compile(t, acme()).NewPressure()
	for _, c := range []struct {
		second, use int
		want        Level
	}{
		{0, 100, Normal},
		{1, 799, Normal},
		{2, 800, Elevated},
		{3, 790, Elevated},
		{11, 700, Elevated},
		{12, 700, Normal},
		{20, 1000, Saturated}, // at once
		{21, 999, High},
		{50, 899, High},
		{51, 899, Elevated}, // since 21 it was below 900
		{52, 899, Elevated},
		{53, 100, Elevated},
		{61, 100, Elevated}, // since 52 it was below 800
		{62, 100, Normal},
		{70, 950, High},
		{65, 100, High}, // time doesn't run backwards
		{99, 100, High},
		{100, 100, Normal},
	} {
		got := s.Update(at(c.second), Load{Own: c.use, Total: 42, Waiting: 3})
		if got.Level != c.want || got.Utilization != c.use || got.TotalUtilization != 42 || got.Waiting != 3 {
			t.Errorf("second %d: got %+v, want %s", c.second, got, c.want)
		}
	}
}

func TestPressureSaysWhatToDo(t *testing.T) {
	p := compile(t, acme())
	for _, c := range []struct {
		use  int
		want PressureReading
	}{
		{100, PressureReading{Level: Normal, Utilization: 100}},
		{800, PressureReading{Level: Elevated, Utilization: 800, MaxToolCalls: 8}},
		{900, PressureReading{Level: High, Utilization: 900, MaxToolCalls: 3, AgentProfile: "lite", Divert: true}},
		{1200, PressureReading{Level: Saturated, Utilization: 1200, MaxToolCalls: 3, AgentProfile: "lite", Divert: true}}, // as below it
	} {
		s := p.NewPressure()
		if got := s.Update(0, Load{Own: c.use}); got != c.want {
			t.Errorf("%d:\n got %+v\nwant %+v", c.use, got, c.want)
		}
	}
	// Steps that the configuration leaves out are never reached; a reload replaces them.
	cfg := acme()
	cfg.Pressure[0].At, cfg.Pressure[2].At = 0, 0
	s := p.NewPressure()
	s.Update(0, Load{Own: 1200})
	s.Steps(compile(t, cfg))
	want := PressureReading{Level: High, MaxToolCalls: 3, AgentProfile: "lite", Divert: true}
	if got := s.Update(at(1), Load{}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := s.Update(at(40), Load{Own: 850}); got.Level != Normal {
		t.Errorf("got %+v, want normal", got)
	}
}
