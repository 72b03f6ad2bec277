package config

import (
	"bytes"
	"encoding/binary"
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

// slim is a zone as small distributions have it: no list of transitions, but a rule for all
// years.
func slim(t *testing.T, rule string) *time.Location {
	t.Helper()
	block := append([]byte("TZif2"), make([]byte, 15)...)
	for _, n := range []uint32{0, 0, 0, 0, 1, 4} { // no lists; one type, one name
		block = binary.BigEndian.AppendUint32(block, n)
	}
	standard := int32(-5 * 3600)
	block = binary.BigEndian.AppendUint32(block, uint32(standard))
	block = append(block, 0, 0, 'E', 'S', 'T', 0)
	data := append(bytes.Clone(block), block...)
	loc, err := time.LoadLocationFromTZData("slim", append(data, "\n"+rule+"\n"...))
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// A zone that goes on by a rule has the offsets of one that lists its transitions, leap years
// included.
func TestZoneByRule(t *testing.T) {
	loc := slim(t, "EST5EDT,M3.2.0,M11.1.0")
	from := time.Date(2026, 1, 15, 0, 0, 0, 0, time.UTC)
	got := offsets(loc, from, from.AddDate(7, 0, 0))
	if len(got) != 1+2*7 {
		t.Fatalf("got %d offsets, want one and two a year: %v", len(got), got)
	}
	for i, z := range got {
		at := time.Unix(0, int64(z.From)).UTC()
		want := []int32{-5 * 3600, -4 * 3600}[i%2]
		if z.Seconds != want || i > 0 && (at.Minute() != 0 || at.Weekday() != time.Sunday || at.Month() != []time.Month{time.November, time.March}[i%2]) {
			t.Errorf("%v from %v, want %d", z.Seconds, at, want)
		}
	}
}
