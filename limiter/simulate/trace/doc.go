// Package trace reads traces of LLM requests for replay: who asked when for how many
// tokens. It streams them as rows of one form, whatever the file's.
//
//	for row, err := range trace.All("requests.csv.gz", trace.Options{}) { … }
//	rows, err := trace.Read("requests.csv.gz", trace.Options{Rows: 10_000})
//
// The format is found from the first line, and gzip from the content:
//
//	Azure Public Dataset   CSV: TIMESTAMP,ContextTokens,GeneratedTokens
//	Mooncake               JSON lines: timestamp (ms), input_length, output_length, hash_ids
//	ServeGen               CSV: t_ms,client,input_tokens,output_tokens,reason_ratio
//	ServeGen, multimodal   CSV: t_ms,client,text_tokens,image_tokens,image_count,output_tokens
//	your own               CSV: t_ms,project,class,input_tokens,output_tokens,max_output_tokens,cached_input_tokens
//
// CSV has a header, whose columns may stand in any order. Of your own only t_ms,
// input_tokens and output_tokens are required; an empty field of the others is unset.
// t_ms may have up to six decimals. Fields are not quoted. Empty lines and lines that
// begin with # are skipped.
//
// Times count from the first row. Rows must be in order of time; a file of up to
// 65,536 rows is read ahead and sorted instead, rows of one instant keeping their order.
// A longer one that is out of order is an error that says how to sort it.
//
// Traces lack what a limiter wants to know: max_tokens, priorities, sometimes who asked.
// [Fill] makes it up by a hash of the row, the same in every run.
package trace
