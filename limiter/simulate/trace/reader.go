package trace

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"os"
	"slices"
	"time"
)

// Options say how much of a trace is read, and how fast it is replayed.
type Options struct {
	Stretch float64       // multiplies every time: 0.5 replays twice as fast; 0 means 1
	Rows    int           // stop after so many; 0: all
	Until   time.Duration // stop before the first row at this time, stretched; 0: none

	// Prefix computes Cached of a Mooncake trace: the tokens of the blocks with which
	// the input begins and which an earlier row had, in a cache that forgets nothing.
	Prefix bool
}

const (
	ahead   = 65_536  // rows read ahead, and sorted if there are no more
	longest = 1 << 20 // bytes in a line
	comment = '#'
)

// A Reader streams the rows of one trace.
type Reader struct {
	name    string
	options Options
	lines   *bufio.Scanner
	line    int // of the file, from 1
	read    int // rows
	parse   func(line []byte, row *Row) (at int64, err error)
	format  string
	close   []io.Closer

	ahead  []timed // read, and not yet given out
	next   int     // of ahead
	ended  error   // why no line is left to read: io.EOF or what is wrong
	start  int64   // time of the first row
	last   int64   // latest time read
	given  int
	seen   map[int64]bool // Mooncake blocks
	failed error          // what Next answers from now on
}

// timed is a row, its time in the file in ns, and its line.
type timed struct {
	at   int64
	line int
	row  Row
}

// Open opens a trace. A file that is broken within its first 65,536 rows gives nothing
// but the error, here.
func Open(path string, o Options) (*Reader, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	r, err := NewReader(f, path, o)
	if err != nil {
		f.Close()
		return nil, err
	}
	r.close = append(r.close, f)
	return r, nil
}

// NewReader reads a trace from src; errors call it name.
func NewReader(src io.Reader, name string, o Options) (*Reader, error) {
	if o.Stretch == 0 {
		o.Stretch = 1
	}
	if !(o.Stretch > 0 && o.Stretch <= 1e6) || o.Rows < 0 || o.Until < 0 {
		return nil, fmt.Errorf("trace: stretch %v is not within 0 … 10⁶, or rows %d or until %v is negative", o.Stretch, o.Rows, o.Until)
	}
	r := &Reader{name: name, options: o}
	in := bufio.NewReaderSize(src, 64<<10)
	if magic, _ := in.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, fmt.Errorf("trace: %s: %w", name, err)
		}
		r.close = append(r.close, z)
		in = bufio.NewReaderSize(z, 64<<10)
	}
	r.lines = bufio.NewScanner(in)
	r.lines.Buffer(make([]byte, 64<<10), longest)
	if err := r.detect(); err != nil {
		return nil, err
	}
	return r, r.fill()
}

// Format names what was detected: azure, mooncake, servegen, servegen-image or own.
func (r *Reader) Format() string { return r.format }

// Close closes what Open opened.
func (r *Reader) Close() error {
	var errs []error
	for _, c := range r.close {
		errs = append(errs, c.Close())
	}
	r.close = nil
	return errors.Join(errs...)
}

// Next gives the next row; io.EOF when there is none.
func (r *Reader) Next() (Row, error) {
	if r.failed != nil {
		return Row{}, r.failed
	}
	row, err := r.give()
	r.failed = err
	return row, err
}

func (r *Reader) give() (Row, error) {
	if r.options.Rows > 0 && r.given == r.options.Rows {
		return Row{}, io.EOF
	}
	var t timed
	if r.next < len(r.ahead) {
		t = r.ahead[r.next]
		r.next++
	} else {
		r.ahead, r.next = nil, 0
		if err := r.advance(&t); err != nil {
			return Row{}, err
		}
		if t.at < r.last {
			return Row{}, r.disorder(t, r.last)
		}
		r.last = t.at
	}
	if r.given == 0 {
		r.start = t.at
	}
	at := float64(t.at-r.start) * r.options.Stretch
	if at >= math.MaxInt64 {
		return Row{}, r.fail("the row is more than 292 years after the first: use a smaller stretch")
	}
	t.row.At = time.Duration(at)
	if r.options.Stretch == 1 {
		t.row.At = time.Duration(t.at - r.start)
	}
	if r.options.Until > 0 && t.row.At >= r.options.Until {
		return Row{}, io.EOF
	}
	if r.options.Prefix && t.row.blocks != nil {
		t.row.Cached = min(r.prefix(t.row.blocks)*blockTokens, t.row.Input)
	}
	t.row.blocks = nil
	r.given++
	return t.row, nil
}

// fill reads ahead, and sorts when that is all there is.
func (r *Reader) fill() error {
	var early timed // the first row out of order
	var latest int64
	sorted := true
	for len(r.ahead) < ahead && r.ended == nil {
		var t timed
		if err := r.advance(&t); err != nil {
			break
		}
		if sorted && t.at < r.last {
			sorted, early, latest = false, t, r.last
		}
		r.last = max(r.last, t.at)
		r.ahead = append(r.ahead, t)
	}
	switch {
	case r.ended != nil && r.ended != io.EOF:
		return r.ended
	case sorted:
		return nil
	case r.ended == nil:
		if err := r.advance(&timed{}); err != io.EOF {
			return r.disorder(early, latest)
		}
	}
	slices.SortStableFunc(r.ahead, func(a, b timed) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	return nil
}

// disorder tells of a row that is earlier than the latest above it.
func (r *Reader) disorder(t timed, latest int64) error {
	return fmt.Errorf("trace: %s:%d: the row is %v before one above it: sort the file by its time column (up to %d rows are sorted for you)",
		r.name, t.line, time.Duration(latest-t.at), ahead)
}

// advance reads the next row of the file.
func (r *Reader) advance(t *timed) error {
	if r.ended != nil {
		return r.ended
	}
	line, err := r.scan()
	if err == nil {
		t.row = Row{Index: r.read}
		if t.at, err = r.parse(line, &t.row); err != nil {
			err = r.fail("%w", err)
		}
		t.line = r.line
		r.read++
	}
	r.ended = err
	return err
}

// scan gives the next line that says something.
func (r *Reader) scan() ([]byte, error) {
	for r.lines.Scan() {
		r.line++
		line := bytes.TrimRight(r.lines.Bytes(), "\r ")
		if r.line == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) > 0 && line[0] != comment {
			return line, nil
		}
	}
	switch err := r.lines.Err(); {
	case err == nil:
		return nil, io.EOF
	case errors.Is(err, bufio.ErrTooLong):
		r.line++
		return nil, r.fail("the line is longer than 1 MiB: is this a trace?")
	default:
		r.line++
		return nil, r.fail("%w", err)
	}
}

// fail names the line at which something is wrong.
func (r *Reader) fail(format string, args ...any) error {
	return fmt.Errorf("trace: %s:%d: "+format, append([]any{r.name, r.line}, args...)...)
}

// detect finds the format from the first line.
func (r *Reader) detect() error {
	line, err := r.scan()
	if err == io.EOF {
		return fmt.Errorf("trace: %s: the file is empty: a header or a first JSON line is needed", r.name)
	}
	if err != nil {
		return err
	}
	if line[0] == '{' {
		var t timed
		if t.at, err = parseMooncake(line, &t.row); err != nil {
			return r.fail("%w", err)
		}
		r.format, r.parse, r.read = "mooncake", parseMooncake, 1
		t.line = r.line
		r.ahead, r.last = append(r.ahead, t), t.at
		return nil
	}
	c, format, err := newColumns(string(line))
	if err != nil {
		return r.fail("%w", err)
	}
	r.format, r.parse = format, c.parse
	return nil
}

// All streams the rows of a file; an error is the last thing it gives.
func All(path string, o Options) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		r, err := Open(path, o)
		if err != nil {
			yield(Row{}, err)
			return
		}
		defer r.Close()
		for row, err := range r.Rows() {
			if !yield(row, err) {
				return
			}
		}
	}
}

// Rows streams what is left; an error is the last thing it gives.
func (r *Reader) Rows() iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		for {
			row, err := r.Next()
			if err == io.EOF || !yield(row, err) || err != nil {
				return
			}
		}
	}
}

// Read reads a file into memory.
func Read(path string, o Options) (rows []Row, err error) {
	for row, err := range All(path, o) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}
