package provider

// A line is one limit at work: the judge and the record, and what they have seen.
type line struct {
	Limit
	judge  judge
	record record

	offered, accepted int64 // amounts
	throttled         int64 // calls
	overdraws         int64 // charges
	peak              int64
}

// A charge is what one call owes to one line.
type charge struct {
	amount        int64 // counted on admission and as produced, less what was credited
	time          int64 // of the admission
	judged, noted int64 // marks of judge and record
}

func newLine(l Limit, bin int64) *line {
	n := &line{Limit: l, judge: newJudge(l)}
	if l.Shape == Stock {
		n.record = &occupancy{bins: bins{width: bin}}
	} else {
		n.record = &ledger{recent: recent{window: int64(l.Window)}, bins: bins{width: bin}}
	}
	return n
}

// charge counts an amount, whether it fits or not.
func (n *line) charge(now, amount int64) charge {
	c := charge{amount: amount, time: now}
	if amount == 0 {
		return c
	}
	n.accepted += amount
	c.judged = n.judge.charge(now, amount)
	c.noted = n.record.add(now, amount)
	n.stands()
	return c
}

// refusal counts a refused request as far as there is room for it. It is not accepted,
// so the record does not see it.
func (n *line) refusal(now int64) {
	if n.judge.wait(now, 1) == 0 {
		n.judge.charge(now, 1)
		n.stands()
	}
}

// stands looks at what the limit stands at after a charge.
func (n *line) stands() {
	level := n.judge.level()
	n.peak = max(n.peak, level)
	if level > n.bound() {
		n.overdraws++
	}
}

// settle makes actual of what was charged.
func (n *line) settle(now int64, c charge, actual int64) {
	switch {
	case actual > c.amount:
		n.charge(now, actual-c.amount)
	case actual < c.amount:
		taken := n.judge.credit(now, c.judged, c.amount-actual)
		if taken > 0 {
			n.accepted -= taken
			n.record.credit(now, c, taken)
		}
	}
}
