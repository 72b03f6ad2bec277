package trace

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// A column is what a field of a CSV line means.
type column uint8

const (
	tMs       column = iota // ms, up to six decimals
	timestamp               // 2023-11-16 18:15:46.6805900, with or without a zone
	client
	class
	input
	imageTokens // part of Input, beside input
	output
	maxOutput
	cached
	imageCount
	reasonRatio // of Output, 0 … 1
)

// Names are matched in lower case.
var columnNames = map[string]column{
	"t_ms": tMs, "timestamp": timestamp,
	"client": client, "project": client, "class": class,
	"input_tokens": input, "contexttokens": input, "text_tokens": input, "image_tokens": imageTokens,
	"output_tokens": output, "generatedtokens": output,
	"max_output_tokens": maxOutput, "cached_input_tokens": cached,
	"image_count": imageCount, "reason_ratio": reasonRatio,
}

const ownHeader = "t_ms,project,class,input_tokens,output_tokens,max_output_tokens,cached_input_tokens"

const mostMs = 9e12 // of a time: the year 2255

// columns parse the lines below one header.
type columns struct {
	of      []column
	names   []string
	clients map[string]string // one string for all rows of a client or class
}

// newColumns reads a header.
func newColumns(header string) (*columns, string, error) {
	c := &columns{clients: map[string]string{}}
	for _, name := range strings.Split(header, ",") {
		name = strings.ToLower(strings.TrimSpace(name))
		col, ok := columnNames[name]
		if !ok {
			return nil, "", fmt.Errorf("unknown column %.40q: a trace begins with the header %s "+
				"(any order; t_ms, input_tokens and output_tokens are required)", name, ownHeader)
		}
		if slices.Contains(c.of, col) {
			return nil, "", fmt.Errorf("column %q is there twice, or says the same as another", name)
		}
		c.of, c.names = append(c.of, col), append(c.names, name)
	}
	has := func(col column) bool { return slices.Contains(c.of, col) }
	if has(tMs) == has(timestamp) {
		return nil, "", errors.New("one column of time is needed: t_ms (milliseconds) or TIMESTAMP (a date and time)")
	}
	if !has(input) || !has(output) {
		return nil, "", errors.New("the columns input_tokens and output_tokens are needed")
	}
	switch {
	case slices.Contains(c.names, "contexttokens"):
		return c, "azure", nil
	case slices.Contains(c.names, "text_tokens"):
		return c, "servegen-image", nil
	case has(reasonRatio):
		return c, "servegen", nil
	}
	return c, "own", nil
}

// parse reads one line.
func (c *columns) parse(line []byte, row *Row) (at int64, err error) {
	var ratio int64 // millionths
	rest, more := line, true
	for i, col := range c.of {
		if !more {
			return 0, fmt.Errorf("%d fields where the header has %d", i, len(c.of))
		}
		field := rest
		if k := bytes.IndexByte(rest, ','); k >= 0 {
			field, rest = rest[:k], rest[k+1:]
		} else {
			more = false
		}
		field = bytes.TrimSpace(field)
		ok := true
		switch col {
		case tMs:
			at, ok = decimal(field, 6, mostMs*1e6)
		case timestamp:
			at, ok = date(string(field))
		case client:
			row.Client, ok = c.text(field)
		case class:
			row.Class, ok = c.text(field)
		case input, imageTokens:
			var n int64
			n, ok = decimal(field, 0, mostTokens)
			row.Input += n
		case output:
			row.Output, ok = decimal(field, 0, mostTokens)
		case maxOutput:
			row.MaxOutput, ok = optional(field, 0)
		case cached:
			row.Cached, ok = optional(field, 0)
		case imageCount:
			row.Images, ok = optional(field, 0)
		case reasonRatio:
			ratio, ok = optional(field, 6)
			ok = ok && ratio <= 1e6
		}
		if !ok {
			return 0, fmt.Errorf("%s: %.40q is not %s", c.names[i], field, col.wants())
		}
	}
	if more {
		return 0, fmt.Errorf("more fields than the %d of the header", len(c.of))
	}
	if row.Input > mostTokens {
		return 0, fmt.Errorf("%d input tokens are more than 2³²", row.Input)
	}
	if row.Cached > row.Input {
		return 0, fmt.Errorf("cached_input_tokens %d is more than the input, %d, of which it is a part", row.Cached, row.Input)
	}
	row.Reasoning = row.Output * ratio / 1e6
	return at, nil
}

func (c column) wants() string {
	switch c {
	case tMs:
		return "a time in milliseconds, 0 … 9·10¹², with at most six decimals"
	case timestamp:
		return "a time such as 2023-11-16 18:15:46.6805900"
	case client, class:
		return "a plain name: leave the quotes away"
	case reasonRatio:
		return "a share, 0 … 1"
	}
	return "a whole number, 0 … 2³²"
}

func (c *columns) text(field []byte) (string, bool) {
	name, ok := c.clients[string(field)] // does not allocate
	if !ok {
		name = string(field)
		c.clients[name] = name
	}
	return name, len(field) == 0 || field[0] != '"'
}

// optional is 0 for an empty field.
func optional(field []byte, decimals int) (int64, bool) {
	if len(field) == 0 {
		return 0, true
	}
	return decimal(field, decimals, mostTokens)
}

// decimal reads digits, and up to so many decimals, in units of the last of them.
func decimal(field []byte, decimals int, most int64) (n int64, ok bool) {
	point := false
	for i, b := range field {
		if b == '.' && !point && i > 0 && decimals > 0 {
			point = true
			continue
		}
		if point {
			decimals--
		}
		if b < '0' || b > '9' || decimals < 0 || n > math.MaxInt64/10-1 {
			return 0, false
		}
		n = n*10 + int64(b-'0')
	}
	for ; decimals > 0; decimals-- {
		if n > math.MaxInt64/10 {
			return 0, false
		}
		n *= 10
	}
	return n, len(field) > 0 && n <= most
}

func date(field string) (int64, bool) {
	t, err := time.Parse("2006-01-02 15:04:05", field) // takes decimals of the second, too
	if err != nil {
		t, err = time.Parse("2006-01-02 15:04:05Z07:00", field)
	}
	if err != nil {
		t, err = time.Parse(time.RFC3339, field)
	}
	if err != nil || t.Year() < 1970 || t.Year() > 2250 {
		return 0, false
	}
	return max(0, t.UnixNano()), true
}
