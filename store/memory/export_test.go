package memory

// Lose lets go of all entries of an organization, as a fault would.
func (l *Log) Lose(organization string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.streams[organization]
	s.tail = nil
	s.last.Minor++
}
