package main

import (
	_ "embed"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

//go:embed trace.csv
var sample string

// A row is one request of a trace.
type row struct {
	at            time.Duration // from the first
	input, output int64         // tokens
}

// readTrace reads a CSV with a header; lines that begin with # are comments.
func readTrace(path string) (rows []row, err error) {
	text := sample
	if path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		text = string(data)
	} else {
		path = "trace.csv"
	}
	var columns map[string]int
	var start time.Duration
	for n, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		fields := strings.Split(line, ",")
		if columns == nil {
			columns = map[string]int{}
			for i, name := range fields {
				columns[strings.ToLower(strings.TrimSpace(name))] = i
			}
			continue
		}
		r, err := parseRow(columns, fields)
		if err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, n+1, err)
		}
		if len(rows) == 0 {
			start = r.at
		}
		r.at -= start
		rows = append(rows, r)
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("%s: no requests", path)
	}
	return rows, nil
}

func parseRow(columns map[string]int, fields []string) (r row, err error) {
	field := func(names ...string) string {
		for _, name := range names {
			if i, ok := columns[name]; ok && i < len(fields) {
				return strings.TrimSpace(fields[i])
			}
		}
		return ""
	}
	if r.input, err = strconv.ParseInt(field("input_tokens", "contexttokens"), 10, 64); err != nil {
		return r, err
	}
	if r.output, err = strconv.ParseInt(field("output_tokens", "generatedtokens"), 10, 64); err != nil {
		return r, err
	}
	if ms := field("t_ms"); ms != "" {
		v, err := strconv.ParseFloat(ms, 64)
		r.at = time.Duration(v * float64(time.Millisecond))
		return r, err
	}
	t, err := time.Parse("2006-01-02 15:04:05", field("timestamp"))
	r.at = time.Duration(t.UnixNano())
	return r, err
}
