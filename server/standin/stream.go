package standin

import (
	"encoding/json"
	"net/http"
	"time"
)

// A stream is an answer as server-sent events.
type stream struct {
	w        http.ResponseWriter
	r        *http.Request
	cut      int // after so many events the connection breaks; < 0: it does not
	split    int // bytes that are sent at once; 0: an event
	rate     float64
	produced *int64 // tokens of a choice so far
	done     func() // ends the call: before the last events, whose reader may call again at once
	events   int
	next     time.Time
}

func (s *stream) begin() {
	h := s.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-cache")
	s.w.WriteHeader(http.StatusOK)
	s.flush()
}

// event sends an event; its name may be empty.
func (s *stream) event(name string, data any) {
	text, err := json.Marshal(data)
	if err != nil {
		panic(http.ErrAbortHandler) // nothing here cannot be written
	}
	if name != "" {
		name = "event: " + name + "\n"
	}
	s.raw(name + "data: " + string(text) + "\n\n")
}

// raw sends what stands for one event.
func (s *stream) raw(text string) {
	if s.events == s.cut {
		panic(http.ErrAbortHandler)
	}
	s.events++
	for piece := text; len(piece) > 0; {
		n := len(piece)
		if s.split > 0 {
			n = min(n, s.split)
		}
		if _, err := s.w.Write([]byte(piece[:n])); err != nil {
			panic(http.ErrAbortHandler)
		}
		piece = piece[n:]
		s.flush()
	}
}

// token waits for the next token, and says false if the caller has gone.
func (s *stream) token() bool {
	if s.rate > 0 {
		every := time.Duration(float64(time.Second) / s.rate)
		if s.next.IsZero() {
			s.next = time.Now()
		}
		s.next = s.next.Add(every)
		if !sleep(s.r, time.Until(s.next)) {
			return false
		}
	}
	*s.produced++
	return s.r.Context().Err() == nil
}

func (s *stream) flush() { _ = http.NewResponseController(s.w).Flush() } // one that cannot is as good
