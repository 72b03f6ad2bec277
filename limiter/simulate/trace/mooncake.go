package trace

import (
	"encoding/json"
	"errors"
	"fmt"
)

const blockTokens = 512

// parseMooncake reads one JSON line.
func parseMooncake(line []byte, row *Row) (at int64, err error) {
	var m struct {
		Timestamp *int64  `json:"timestamp"`
		Input     *int64  `json:"input_length"`
		Output    *int64  `json:"output_length"`
		Blocks    []int64 `json:"hash_ids"`
	}
	if err := json.Unmarshal(line, &m); err != nil {
		return 0, fmt.Errorf("not a request of Mooncake's form: %w", err)
	}
	if m.Timestamp == nil || m.Input == nil || m.Output == nil {
		return 0, errors.New("timestamp (ms), input_length and output_length are needed")
	}
	if *m.Timestamp < 0 || *m.Timestamp > mostMs {
		return 0, fmt.Errorf("timestamp %d is not within 0 … %d ms", *m.Timestamp, int64(mostMs))
	}
	if *m.Input < 0 || *m.Input > mostTokens || *m.Output < 0 || *m.Output > mostTokens {
		return 0, fmt.Errorf("input_length %d or output_length %d is not within 0 … 2³²", *m.Input, *m.Output)
	}
	row.Input, row.Output, row.blocks = *m.Input, *m.Output, m.Blocks
	return *m.Timestamp * 1e6, nil
}

// prefix counts the blocks at the head of an input that were seen before, and sees all.
func (r *Reader) prefix(blocks []int64) (known int64) {
	if r.seen == nil {
		r.seen = map[int64]bool{}
	}
	for known < int64(len(blocks)) && r.seen[blocks[known]] {
		known++
	}
	for _, b := range blocks[known:] {
		r.seen[b] = true
	}
	return known
}
