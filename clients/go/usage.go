package watermaster

import (
	"bytes"
	"encoding/json"
)

// amounts are a call's usage while it is read; below 0: unknown.
type amounts struct{ input, output, cached, written int64 }

var unknownAmounts = amounts{-1, -1, -1, -1}

// usage gives the amounts as they are told; nil: nothing is known.
func (a amounts) usage() *Usage {
	if a == unknownAmounts {
		return nil
	}
	some := func(n int64) *int64 {
		if n < 0 {
			return nil
		}
		return &n
	}
	return &Usage{
		InputTokens: some(a.input), OutputTokens: some(a.output),
		CachedInputTokens: some(a.cached), CacheWriteInputTokens: some(a.written),
	}
}

// amount reads a number of tokens.
func amount(raw json.RawMessage) int64 {
	if n, ok := whole(raw); ok && n <= most {
		return n
	}
	return -1
}

// tally collects the usage that an answer tells of, in the form of its wire.
type tally struct {
	wire wire
	last amounts
	// Of messages, whose input is without what was read from the cache and written to it, and
	// whose later events leave out what has not changed.
	fresh, read, written, output int64
}

func newTally(w wire) tally {
	return tally{wire: w, last: unknownAmounts, fresh: -1, read: -1, written: -1, output: -1}
}

// details are the parts of an input.
type details struct {
	Cached  json.RawMessage `json:"cached_tokens"`
	Written json.RawMessage `json:"cache_write_tokens"`
}

// add takes a usage object.
func (t *tally) add(raw []byte) {
	switch t.wire {
	case wireMessages:
		t.addMessages(raw)
		return
	case wireResponses, wireImages:
		var u struct {
			Input   json.RawMessage `json:"input_tokens"`
			Output  json.RawMessage `json:"output_tokens"`
			Details json.RawMessage `json:"input_tokens_details"`
		}
		if json.Unmarshal(raw, &u) == nil {
			t.take(u.Input, u.Output, u.Details, nil)
		}
	default:
		var u struct {
			Input   json.RawMessage `json:"prompt_tokens"`
			Output  json.RawMessage `json:"completion_tokens"`
			Details json.RawMessage `json:"prompt_tokens_details"`
			Hit     json.RawMessage `json:"prompt_cache_hit_tokens"` // DeepSeek's
		}
		if json.Unmarshal(raw, &u) == nil {
			t.take(u.Input, u.Output, u.Details, u.Hit)
		}
	}
}

func (t *tally) take(input, output, inDetail, hit json.RawMessage) {
	var d details
	if isObject(inDetail) && json.Unmarshal(inDetail, &d) != nil {
		d = details{}
	}
	a := amounts{amount(input), amount(output), amount(d.Cached), amount(d.Written)}
	if a.cached < 0 {
		a.cached = amount(hit)
	}
	if a != unknownAmounts {
		t.last = a
	}
}

func (t *tally) addMessages(raw []byte) {
	var u struct {
		Input   json.RawMessage `json:"input_tokens"`
		Output  json.RawMessage `json:"output_tokens"`
		Read    json.RawMessage `json:"cache_read_input_tokens"`
		Written json.RawMessage `json:"cache_creation_input_tokens"`
	}
	if json.Unmarshal(raw, &u) != nil {
		return
	}
	for _, x := range []struct {
		seen json.RawMessage
		into *int64
	}{{u.Input, &t.fresh}, {u.Output, &t.output}, {u.Read, &t.read}, {u.Written, &t.written}} {
		if n := amount(x.seen); n >= 0 {
			*x.into = n
		}
	}
	t.last = amounts{-1, t.output, t.read, t.written}
	if t.fresh >= 0 {
		if t.last.input = t.fresh + max(t.read, 0) + max(t.written, 0); t.last.input > most {
			t.last.input = -1
		}
	}
}

func isObject(raw []byte) bool {
	raw = bytes.TrimLeft(raw, " \t\r\n")
	return len(raw) > 0 && raw[0] == '{'
}
