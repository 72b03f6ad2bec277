package web

import (
	"net/http"
	"time"
)

// A writer gives whoever reads an answer a time to do so. A time for the whole answer would
// end calls that wait and streams.
type writer struct {
	http.ResponseWriter
	began  bool // something of the body is written
	failed bool // the answer is an error, and complete
}

// newWriter takes off the deadline that the last answer on the connection left.
func newWriter(w http.ResponseWriter) *writer {
	answer := &writer{ResponseWriter: w}
	answer.extend()
	return answer
}

// Unwrap is for http.ResponseController.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *writer) WriteHeader(code int) {
	if !w.failed {
		w.ResponseWriter.WriteHeader(code)
	}
}

func (w *writer) Write(b []byte) (int, error) {
	if w.failed {
		return len(b), nil
	}
	w.began = true
	w.extend()
	return w.ResponseWriter.Write(b)
}

// extend gives writeTime from now on. Writers without deadlines are those of tests.
func (w *writer) extend() {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(writeTime))
}
