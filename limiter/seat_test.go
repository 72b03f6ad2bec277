package limiter

import (
	"testing"
	"time"
)

// seated joins processes, each in an entry of its own.
func seated(e *Engine, now Time, ids ...uint64) {
	for _, id := range ids {
		number := uint64(1)
		if p := e.process(id); p != nil {
			number = p.number + 1
		}
		e.Begin(id, number, now)
		e.Apply(&Join{Incarnation: id, Behaviour: 1}, now, nil)
	}
}

func wantSeat(t *testing.T, e *Engine, id uint64, want int) {
	t.Helper()
	got, _, ok := e.Seat(id)
	if !ok {
		got = -1
	}
	if got != want {
		t.Errorf("%v: process %d has the seat %d, want %d", time.Duration(e.now), id, got, want)
	}
}

// A seat stays a process's own for as long as it may decide from it, and what it has decided
// counts: a day and the longest hold of a pool, however many join meanwhile.
func TestSeat(t *testing.T) {
	const none = -1
	e := New()
	e.Apply(&Configure{Generation: 1, Pools: []PoolSpec{{Name: "a/p", Limits: []LimitSpec{
		{Metric: Requests, Quota: 10, Window: 6 * time.Hour, Jitter: time.Second},
	}}}}, 0, nil)
	seated(e, 1, 11, 12, 13)
	seated(e, 2, 12) // again
	for id, want := range map[uint64]int{11: 0, 12: 1, 13: 2, 14: none, 0: none} {
		wantSeat(t, e, id, want)
	}

	// One that left without having granted alone gives its seat back at once, one that has when
	// that counts no more.
	e.Begin(11, 2, 3)
	e.Apply(&Leave{Incarnation: 11}, 3, nil)
	e.Apply(&Leave{Incarnation: 13, Spent: true}, 3, nil)
	e.Apply(&Leave{Incarnation: 99}, 3, nil)
	wantSeat(t, e, 11, none)
	wantSeat(t, e, 13, none)
	seated(e, 4, 14, 15)
	wantSeat(t, e, 14, 0)
	wantSeat(t, e, 15, 3)
	after := Time(6*time.Hour) + Time(time.Second) + 10
	e.Begin(12, 3, after) // it goes on, without joining again
	seated(e, after, 16)
	wantSeat(t, e, 16, 2)

	// One that is not heard any more keeps it for a day and the hold, whether it is remembered or
	// not; who was heard meanwhile keeps it longer.
	_, until, _ := e.Seat(12)
	if want := after.Add(SeatTime); until != want {
		t.Errorf("12 may decide until %v, want %v", time.Duration(until), time.Duration(want))
	}
	silent := Time(0).Add(SeatTime + 7*time.Hour)
	seated(e, silent, 17)
	wantSeat(t, e, 17, 4)
	late := silent.Add(time.Hour)
	seated(e, late, 18)
	wantSeat(t, e, 18, 0) // 14 was heard at 4
	wantSeat(t, e, 14, none)
	wantSeat(t, e, 12, 1)
	e.Begin(14, 9, late) // it comes back, and has to join to have one
	wantSeat(t, e, 14, none)
	seated(e, late, 14)
	wantSeat(t, e, 14, 3) // 15's
}

// There are no more than so many; a snapshot knows them all.
func TestSeatBound(t *testing.T) {
	e := New()
	for id := range uint64(mostSeats + 5) {
		seated(e, 1, id+1)
	}
	e.Apply(&Leave{Incarnation: 5, Spent: true}, 2, nil)
	wantSeat(t, e, mostSeats, mostSeats-1)
	wantSeat(t, e, mostSeats+1, -1)
	again, err := Load(e.Snapshot(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []uint64{1, mostSeats, mostSeats + 1, 5} {
		want, _, ok := e.Seat(id)
		if !ok {
			want = -1
		}
		wantSeat(t, again, id, want)
	}
	again.Begin(1, 7, 9)
	if _, until, _ := again.Seat(1); until != Time(9).Add(SeatTime) {
		t.Errorf("1 has it until %v: it is not heard", time.Duration(until))
	}
}
