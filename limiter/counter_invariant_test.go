package limiter

// counters looks at the counters, their shelves, and the order in which they stand there.
func (c *checker) counters() {
	e := c.e
	shelved := 0
	for i, s := range e.shelves {
		c.check(i == 0 || e.shelves[i-1].length < s.length, "shelves out of order")
		var before *counter
		for o := s.oldest; o != nil; o = o.newer {
			shelved++
			c.check(o.older == before && o.shelf == s, "counter %x is in the wrong place", o.id)
			c.check(before == nil || before.last() <= o.last(), "counter %x is before one that was hit earlier", o.id)
			c.check(e.counters[o.id] == o, "counter %x leads elsewhere", o.id)
			c.check(o.base <= o.told, "of counter %x less was told than was there", o.id)
			c.window(&o.window)
			before = o
		}
		c.check(s.newest == before, "a shelf does not know its end")
	}
	c.check(shelved == len(e.counters), "%d counters, %d on shelves", len(e.counters), shelved)
}
