package web

// Occupy makes as many calls be under way as may be, until the function that it gives.
func (s *Server) Occupy() (leave func()) {
	s.calls.Add(maxCalls)
	return func() { s.calls.Add(-maxCalls) }
}
