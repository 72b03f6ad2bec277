package trace

import "time"

// A Row is one request. Tokens are within 0 … 2³².
type Row struct {
	Index  int           // of the row among the file's, from 0; goes on where a trace is looped
	At     time.Duration // from the first row, ≥ 0, never less than the row before
	Client string        // who asked: client or project of the file; "" when it does not say
	Class  string        // priority class; "" when the file does not say

	Input     int64 // tokens, those of images included
	Cached    int64 // of Input, found in a cache; ≤ Input
	Output    int64 // tokens, Reasoning included
	Reasoning int64 // of Output
	MaxOutput int64 // what the request allowed; 0 when the file does not say
	Images    int64

	blocks []int64 // Mooncake: ids of the input's blocks of 512 tokens
}

const mostTokens = 1 << 32
