package provider

// sliding refuses what would take the window that ends now over the quota. Every window
// (s, s+W] holds no more than the one that ends at its last event, so none is over.
type sliding struct {
	quota  int64
	recent recent
}

func (s *sliding) wait(now, amount int64) int64 {
	if amount > s.quota {
		return never
	}
	s.recent.advance(now)
	return s.recent.room(now, s.quota-amount)
}

func (s *sliding) charge(now, amount int64) int64       { return s.recent.add(now, amount) }
func (s *sliding) credit(now, mark, amount int64) int64 { return s.recent.credit(now, mark, amount) }
func (s *sliding) level() int64                         { return s.recent.sum }

// fixed counts windows of its own, [phase + k·window, phase + (k+1)·window), from
// nothing each. An event on the edge belongs to the window that begins there.
type fixed struct {
	quota, window, phase int64

	k   int64 // the window that sum is of
	sum int64
}

// index is the window that now lies in: floor((now − phase) / window).
func (f *fixed) index(now int64) int64 {
	k := (now - f.phase) / f.window
	if f.phase+k*f.window > now {
		k-- // division rounds towards zero
	}
	return k
}

func (f *fixed) roll(now int64) {
	if k := f.index(now); k != f.k {
		f.k, f.sum = k, 0
	}
}

func (f *fixed) wait(now, amount int64) int64 {
	f.roll(now)
	switch {
	case amount > f.quota:
		return never
	case f.sum+amount <= f.quota:
		return 0
	}
	return f.phase + (f.k+1)*f.window - now
}

func (f *fixed) charge(now, amount int64) int64 {
	f.roll(now)
	f.sum += amount
	return f.k
}

// credit is for the window that was charged, and for no other.
func (f *fixed) credit(now, mark, amount int64) int64 {
	f.roll(now)
	if mark != f.k {
		return 0
	}
	f.sum -= amount // ≥ 0: no more is credited than was charged to it
	return amount
}

func (f *fixed) level() int64 { return f.sum }

// stock is held from arrival to completion.
type stock struct{ quota, held int64 }

func (s *stock) wait(_, amount int64) int64 {
	switch {
	case amount > s.quota:
		return never
	case s.held+amount <= s.quota:
		return 0
	}
	return unknown
}

func (s *stock) charge(_, amount int64) int64 {
	s.held += amount
	return 0
}

func (s *stock) credit(_, _, amount int64) int64 {
	s.held -= amount
	return amount
}

func (s *stock) level() int64 { return s.held }
