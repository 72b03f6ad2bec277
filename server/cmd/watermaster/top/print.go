package top

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// Text says what is printed where there is no terminal.
type Text struct {
	Client  pb.MonitorServiceClient
	Request *pb.GetHeadroomRequest
	Every   time.Duration // from one table to the next; > 0
	Count   int           // of tables; 0: until the context ends
	// JSON prints one object a line, a watermaster.v1.Headroom, and not tables.
	JSON bool

	Order     Order
	Consumers int            // how many of a limit's largest are listed
	Width     int            // of a table, in columns; 0: as wide as it gets
	Zone      *time.Location // for times; nil is UTC
	// Where it tells that the server is gone for a while.
	Trouble io.Writer
}

// answerTime is how long the server has for an answer.
const answerTime = 10 * time.Second

// Print prints what the server says. A first answer that fails is an error; later the server
// may be gone for a while.
func (t Text) Print(ctx context.Context, w io.Writer) error {
	for i := 0; t.Count == 0 || i < t.Count; i++ {
		if i > 0 && !sleep(ctx, t.Every) {
			return nil
		}
		h, err := t.ask(ctx, i > 0)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if i > 0 && !t.JSON {
			fmt.Fprintln(w)
		}
		if err := t.write(w, h); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	return nil
}

// ask asks once, or patiently.
func (t Text) ask(ctx context.Context, patiently bool) (*pb.Headroom, error) {
	var b backoff
	for {
		once, stop := context.WithTimeout(ctx, answerTime)
		answer, err := t.Client.GetHeadroom(once, t.Request)
		stop()
		if err == nil || !patiently || !passes(err) {
			return answer.GetHeadroom(), err
		}
		if b.next == 0 {
			fmt.Fprintln(t.Trouble, "reconnecting:", clean(Reason(err)))
		}
		if !b.wait(ctx) {
			return nil, ctx.Err()
		}
	}
}

func (t Text) write(w io.Writer, h *pb.Headroom) error {
	var b bytes.Buffer
	if t.JSON {
		text, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(h)
		if err != nil {
			return err
		}
		if err := json.Compact(&b, text); err != nil { // its spaces vary on purpose
			return err
		}
		b.WriteByte('\n')
	} else {
		for _, l := range t.table(h) {
			b.WriteString(l)
			b.WriteByte('\n')
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// table is all that is told of the limits, as lines of text.
func (t Text) table(h *pb.Headroom) (lines []string) {
	zone := t.Zone
	if zone == nil {
		zone = time.UTC
	}
	put := func(l line) { lines = append(lines, l.draw(t.Width, Plain, 0)) }
	put(line{{fmt.Sprintf("%s  %s  revision %d  %s", clean(h.GetOrganization()), h.GetTime().AsTime().In(zone).Format(time.RFC3339),
		h.GetConfigRevision(), count(len(h.GetLimits()), "limit")), 0}})
	if h.GetLog() != nil {
		for _, l := range replicas(h.GetLog(), 0) {
			put(l)
		}
	}
	rows := rowsOf(h, 0, t.Order, "")
	if len(rows) == 0 {
		s := State{Headroom: h}
		put(line{{s.nothing(), 0}})
		return lines
	}
	of, gap := place(rows, t.Width)
	put(titles(of, gap))
	for i := range rows {
		put(rows[i].tell(of, gap))
		for _, l := range rows[i].consumers(t.Consumers) {
			put(l)
		}
	}
	return lines
}

// consumers are a limit's largest consumers, at most so many.
func (r *row) consumers(most int) (lines []line) {
	list := r.limit.GetTopConsumers()
	list = list[:min(most, len(list))]
	width := 0
	for _, c := range list {
		width = max(width, widthOf(clean(c.GetProject())))
	}
	for _, c := range list {
		lines = append(lines, line{{fmt.Sprintf("%s%s  %6s  %4s", strings.Repeat(" ", 4), pad(clean(c.GetProject()), width, false),
			amount(r.limit.GetMetric(), c.GetHeld()), percent(c.GetUtilization())), 0}})
	}
	return lines
}
