package standin

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/watermaster-project/watermaster/limiter/simulate/provider"
)

// A Report is what an account has seen since its start, or the latest reset.
type Report struct {
	Seconds     float64       `json:"seconds"` // from the first call to the last
	Calls       int64         `json:"calls"`
	Accepted    int64         `json:"accepted"`
	Refused     int64         `json:"refused"` // with 429, for a limit
	InFlight    int64         `json:"in_flight"`
	MaxInFlight int64         `json:"max_in_flight"`
	Statuses    map[int]int64 `json:"statuses"` // of answers
	// Tokens of the calls that have ended: their prompts, and what was produced, also of those
	// that were cut short. It is what their usage says, where limits may count otherwise.
	InputTokens  int64         `json:"input_tokens"`
	OutputTokens int64         `json:"output_tokens"`
	Limits       []LimitReport `json:"limits"`
}

// A LimitReport is what one limit has seen.
type LimitReport struct {
	Metric    string  `json:"metric"`
	Quota     int64   `json:"quota"`
	Window    string  `json:"window,omitempty"`
	Shape     string  `json:"shape"`
	Accepted  int64   `json:"accepted"`  // in the metric's unit
	Throttled int64   `json:"throttled"` // calls
	Used      int64   `json:"used"`      // as it stands now
	Worst     int64   `json:"worst"`     // the most that any window held, wherever it began
	Fullest   float64 `json:"fullest"`   // the same, of the quota
	Use       float64 `json:"use"`       // of what could have been used from the first call to the last, at least a window
}

// Report tells what was seen until now.
func (s *Server) Report() Report {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now().Sub(s.start)
	all := s.provider.Report()
	r := Report{
		Calls: all.Calls, Accepted: all.Accepted, Refused: all.Refused(), InFlight: int64(s.provider.InFlight()), MaxInFlight: all.MaxInFlight,
		Statuses: map[int]int64{}, InputTokens: s.input, OutputTokens: s.output, Limits: []LimitReport{},
	}
	for status, n := range s.statuses {
		r.Statuses[status] = n
	}
	from, to := s.first.Sub(s.start), s.last.Sub(s.start)+time.Second
	if !s.first.IsZero() {
		r.Seconds = s.last.Sub(s.first).Seconds()
	} else {
		from, to = 0, 0
	}
	for i := range all.Limits {
		l := &all.Limits[i]
		to := max(to, from+l.Window)
		x := LimitReport{
			Metric: l.Metric.String(), Quota: l.Quota, Shape: l.Shape.String(), Accepted: l.Accepted, Throttled: l.Throttled,
			Used: s.used(now, i), Worst: l.Worst.Amount, Fullest: l.Worst.Float(), Use: s.provider.Use(i, from, to),
		}
		if l.Window > 0 {
			x.Window = l.Window.String()
		}
		r.Limits = append(r.Limits, x)
	}
	return r
}

func (s *Server) used(now time.Duration, i int) int64 {
	at := s.provider.Standing(now, i)
	return at.Used
}

// String is a table for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d calls in %.1f s, %d refused, %d in flight, at most %d\n", r.Calls, r.Seconds, r.Refused, r.InFlight, r.MaxInFlight)
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprint(w, "LIMIT\tQUOTA\tWINDOW\tUSED\tACCEPTED\tFULLEST WINDOW\tUSE\tREFUSED\t\n") // into memory
	for _, l := range r.Limits {
		_, _ = fmt.Fprintf(w, "%s\t%d\t%s\t%d\t%d\t%.1f%%\t%.1f%%\t%d\t\n", l.Metric, l.Quota, l.Window, l.Used, l.Accepted, 100*l.Fullest, 100*l.Use, l.Throttled)
	}
	_ = w.Flush() // likewise
	return b.String()
}

func (s *Server) report(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(s.Report()) // the caller may have gone
}

// ParseShape gives a shape by its word in a configuration.
func ParseShape(word string) (provider.Shape, bool) {
	switch word {
	case "sliding_window":
		return provider.Sliding, true
	case "token_bucket":
		return provider.Bucket, true
	case "fixed_window":
		return provider.Fixed, true
	}
	return 0, false
}
