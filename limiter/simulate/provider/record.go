package provider

// A record measures what was accepted at one limit. It decides nothing and knows
// nothing of the limit's shape.
type record interface {
	add(now, amount int64) (mark int64)
	credit(now int64, from charge, amount int64)
	worst() (amount, at int64)         // the most that any window (s, s+W] held, and its end
	between(now, from, to int64) int64 // amount in [from, to), whole bins
}

// A ledger is the record of a limit with a window.
type ledger struct {
	recent    recent
	most, end int64
	bins      bins
}

// add notes an amount. The fullest window ends at an event, so it is enough to look
// at the one that ends here. A later credit does not make it less: it was so full.
func (l *ledger) add(now, amount int64) int64 {
	mark := l.recent.add(now, amount)
	if l.recent.sum > l.most {
		l.most, l.end = l.recent.sum, now
	}
	l.bins.add(now, amount)
	return mark
}

// credit lowers what was noted at the time of the charge.
func (l *ledger) credit(now int64, from charge, amount int64) {
	l.recent.credit(now, from.noted, amount)
	l.bins.add(from.time, -amount)
}

func (l *ledger) worst() (int64, int64)           { return l.most, l.end }
func (l *ledger) between(_, from, to int64) int64 { return l.bins.sum(from, to) }

// An occupancy is the record of a stock. Its bins hold call·ns.
type occupancy struct {
	held, since int64
	most, end   int64
	bins        bins
}

func (o *occupancy) advance(now int64) {
	for o.since < now {
		until := min(now, (o.since/o.bins.width+1)*o.bins.width)
		if o.held > 0 {
			o.bins.add(o.since, o.held*(until-o.since))
		}
		o.since = until
	}
}

func (o *occupancy) add(now, amount int64) int64 {
	o.advance(now)
	o.held += amount
	if o.held > o.most {
		o.most, o.end = o.held, now
	}
	return 0
}

func (o *occupancy) credit(now int64, _ charge, amount int64) {
	o.advance(now)
	o.held -= amount
}

func (o *occupancy) worst() (int64, int64) { return o.most, o.end }

func (o *occupancy) between(now, from, to int64) int64 {
	o.advance(now)
	return o.bins.sum(from, to)
}

// bins are sums over [k·width, (k+1)·width).
type bins struct {
	width int64 // ns
	sums  []int64
}

func (b *bins) add(now, amount int64) {
	k := int(now / b.width)
	for len(b.sums) <= k {
		b.sums = append(b.sums, 0)
	}
	b.sums[k] += amount
}

func (b *bins) sum(from, to int64) (total int64) {
	n := int64(len(b.sums))
	for k := max(0, from/b.width); k < min(n, to/b.width); k++ {
		total += b.sums[k]
	}
	return total
}
