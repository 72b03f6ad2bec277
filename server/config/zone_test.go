package config

import (
	"testing"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
)

// At every hour the offsets say what the zone database says.
func TestZone(t *testing.T) {
	for _, name := range []string{
		"America/Los_Angeles", "Europe/Zurich", "Asia/Kolkata", "Africa/Casablanca", "Australia/Lord_Howe", "Etc/GMT+5",
	} {
		r := &reader{modTime: written}
		list, err := r.zone(name)
		if err != nil {
			t.Fatal(err)
		}
		loc, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		i := 0
		for at := written.AddDate(-1, 0, 0); at.Before(written.AddDate(6, 0, 0)); at = at.Add(time.Hour) {
			for i+1 < len(list) && list[i+1].From <= limiter.Time(at.UnixNano()) {
				i++
			}
			if _, want := at.In(loc).Zone(); int(list[i].Seconds) != want {
				t.Fatalf("%s at %v: got %d s, want %d s", name, at, list[i].Seconds, want)
			}
		}
		if i != len(list)-1 {
			t.Errorf("%s: %d offsets, of which %d are after the last year", name, len(list), len(list)-1-i)
		}
		for j := 1; j < len(list); j++ {
			if list[j].From <= list[j-1].From || list[j].Seconds == list[j-1].Seconds {
				t.Errorf("%s: offset %d does not follow: %v", name, j, list)
			}
		}
	}
}

func TestZoneUTC(t *testing.T) {
	for _, name := range []string{"UTC", "Etc/UTC", "Africa/Abidjan"} {
		r := &reader{modTime: written}
		if list, err := r.zone(name); list != nil || err != nil {
			t.Errorf("%s: got %v, %v, want none", name, list, err)
		}
	}
}
