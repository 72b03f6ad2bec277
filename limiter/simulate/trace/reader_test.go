package trace

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

// The first rows of every format, and what the whole sample adds up to.
func TestFormats(t *testing.T) {
	for _, c := range []struct {
		file, format string
		rows         int
		second, last Row
	}{
		{"azure_2023_conv.csv", "azure", 49,
			Row{Index: 1, At: 4_314_579_000, Input: 396, Output: 109}, Row{Index: 48, At: 26_407_057_000, Input: 412, Output: 102}},
		{"mooncake_synthetic.jsonl", "mooncake", 50,
			Row{Index: 1, Input: 36640, Output: 4}, Row{Index: 49, At: 14_514 * ms, Input: 30397, Output: 2}},
		{"servegen_r1.csv", "servegen", 49,
			Row{Index: 1, Client: "23", Input: 191, Output: 701, Reasoning: 619}, Row{Index: 48, At: 2010 * ms, Client: "35", Input: 12, Output: 1749, Reasoning: 795}}, // 701 × .884 = 619.684
		{"servegen_image.csv", "servegen-image", 49,
			Row{Index: 1, Client: "31", Input: 50 + 54, Images: 1, Output: 19}, Row{Index: 48, At: 2839 * ms, Client: "26", Input: 36 + 1271, Images: 1, Output: 95}},
		{"own.csv", "own", 3,
			Row{Index: 1, At: 250 * time.Microsecond, Client: "index", Class: "batch", Input: 3000, Output: 40},
			Row{Index: 2, At: 500 * ms, Input: 70, Output: 50, MaxOutput: 4096}},
	} {
		t.Run(c.file, func(t *testing.T) {
			r, err := Open("testdata/"+c.file, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if r.Format() != c.format {
				t.Errorf("format %q, want %q", r.Format(), c.format)
			}
			var rows []Row
			for row, err := range r.Rows() {
				if err != nil {
					t.Fatal(err)
				}
				rows = append(rows, row)
			}
			if len(rows) != c.rows || !same(rows[1], c.second) || !same(rows[len(rows)-1], c.last) {
				t.Errorf("%d rows, second %+v, last %+v\nwant %d, %+v, %+v",
					len(rows), rows[1], rows[len(rows)-1], c.rows, c.second, c.last)
			}
			if _, err := r.Next(); err != io.EOF {
				t.Errorf("after the end: %v", err)
			}
		})
	}
}

func same(a, b Row) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

func read(text string, o Options) (rows []Row, err error) {
	r, err := NewReader(strings.NewReader(text), "f", o)
	if err != nil {
		return nil, err
	}
	for row, err := range r.Rows() {
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func TestOwn(t *testing.T) {
	got, err := Read("testdata/own.csv", Options{})
	want := Row{Client: "search", Class: "interactive", Input: 200, Cached: 150, Output: 30, MaxOutput: 100}
	if err != nil || len(got) != 3 || !same(got[0], want) {
		t.Errorf("got %+v, %v, want %+v first", got, err, want)
	}
}

// Every error names file and line, and says what to do.
func TestErrors(t *testing.T) {
	const header = "t_ms,input_tokens,output_tokens,cached_input_tokens,project\n"
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "f: the file is empty: a header"},
		{"only comments", "# a\n\n", "f: the file is empty"},
		{"no header", "0,1,2\n", `f:1: unknown column "0": a trace begins with the header t_ms,`},
		{"an unknown column", "t_ms,input_tokens,output_tokens,colour\n", `f:1: unknown column "colour"`},
		{"no time", "input_tokens,output_tokens\n", "f:1: one column of time is needed: t_ms"},
		{"two times", "t_ms,TIMESTAMP,input_tokens,output_tokens\n", "f:1: one column of time"},
		{"no output", "t_ms,input_tokens\n", "f:1: the columns input_tokens and output_tokens"},
		{"a column twice", "t_ms,t_ms,input_tokens,output_tokens\n", `f:1: column "t_ms" is there twice`},
		{"two names of one", "t_ms,client,project,input_tokens,output_tokens\n", `f:1: column "project" is there twice, or says the same`},
		{"too few", header + "0,9,2,3,a\n1,2\n", "f:3: 2 fields where the header has 5"},
		{"too many", header + "0,9,2,3,a,b\n", "f:2: more fields than the 5"},
		{"not a number", header + "0,1,x,,\n", `f:2: output_tokens: "x" is not a whole number`},
		{"a fraction of a token", header + "0,1.5,2,,\n", `f:2: input_tokens: "1.5" is not a whole`},
		{"negative", header + "0,-1,2,,\n", `f:2: input_tokens: "-1" is not`},
		{"no input", header + "0,,2,,\n", `f:2: input_tokens: "" is not`},
		{"vast", header + "0,99999999999999999999999,2,,\n", "f:2: input_tokens:"},
		{"a time too fine", header + "0.1234567,1,2,,\n", "f:2: t_ms:"},
		{"a time too late", header + "9000000000001,1,2,,\n", "f:2: t_ms:"},
		{"a time of points", header + ".5,1,2,,\n", "f:2: t_ms:"},
		{"two points", header + "1.5.5,1,2,,\n", "f:2: t_ms:"},
		{"too much cached", header + "0,1,2,3,\n", "f:2: cached_input_tokens 3 is more than the input, 1"},
		{"quoted", header + "0,1,2,,\"a\"\n", "f:2: project: \"\\\"a\\\"\" is not a plain name: leave the quotes away"},
		{"a date", "TIMESTAMP,ContextTokens,GeneratedTokens\nyesterday,1,2\n", `f:2: timestamp: "yesterday" is not a time such as`},
		{"a share above 1", "t_ms,input_tokens,output_tokens,reason_ratio\n0,1,2,1.1\n", "f:2: reason_ratio:"},
		{"a long line", header + strings.Repeat("x", longest+1), "f:2: the line is longer than 1 MiB"},
		{"JSON of another form", "{\"a\": 1}\n", "f:1: timestamp (ms), input_length and output_length are needed"},
		{"broken JSON", "{\"timestamp\":0,\"input_length\":1,\"output_length\":1}\n{\n", "f:2: not a request of Mooncake's form"},
		{"a negative JSON time", "{\"timestamp\":-1,\"input_length\":1,\"output_length\":1}\n", "f:1: timestamp -1"},
		{"broken gzip", "\x1f\x8bxx", "f: "},
	} {
		if rows, err := read(c.text, Options{}); err == nil || !strings.HasPrefix(err.Error(), "trace: "+c.want) || len(rows) > 0 {
			t.Errorf("%s: got %d rows, %v\nwant %q", c.name, len(rows), err, c.want)
		}
	}
	if _, err := Read("testdata/nothing", Options{}); err == nil {
		t.Error("a missing file was read")
	}
	for _, o := range []Options{{Stretch: -1}, {Stretch: 1e7}, {Rows: -1}, {Until: -1}} {
		if _, err := read(header, o); err == nil {
			t.Errorf("options %+v were taken", o)
		}
	}
}

func TestTimes(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       time.Duration // of the second row
	}{
		{"epoch milliseconds", "t_ms,input_tokens,output_tokens\n1700000000000,1,1\n1700000000001.000002,1,1\n", ms + 2},
		{"CRLF and a byte order mark", "\xef\xbb\xbft_ms,input_tokens,output_tokens\r\n5,1,1\r\n7,1,1\r\n", 2 * ms},
		{"blanks", " t_ms , Input_Tokens,output_tokens\n 5 , 1 ,1\n7 ,1,1\n", 2 * ms},
		{"a zone", "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,1,1\n2024-05-10 00:00:00.017335+00:00,1,1\n", 7405 * time.Microsecond},
		{"RFC 3339", "timestamp,input_tokens,output_tokens\n2024-05-10T00:00:00Z,1,1\n2024-05-10T02:00:01+02:00,1,1\n", time.Second},
	} {
		rows, err := read(c.text, Options{})
		if err != nil || len(rows) != 2 || rows[0].At != 0 || rows[1].At != c.want {
			t.Errorf("%s: got %+v, %v, want %v", c.name, rows, err, c.want)
		}
	}
}

// Short files are sorted, rows of one instant in their order; long ones are refused.
func TestOrder(t *testing.T) {
	rows, err := read("t_ms,input_tokens,output_tokens\n7,1,1\n5,2,1\n7,3,1\n5,4,1\n", Options{})
	var got []int64
	for _, row := range rows {
		got = append(got, row.Input, int64(row.Index), int64(row.At/ms))
	}
	if want := []int64{2, 1, 0, 4, 3, 0, 1, 0, 2, 3, 2, 2}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %d, %v, want %d", got, err, want)
	}

	long := func(rows, early int) string {
		var b strings.Builder
		b.WriteString("t_ms,input_tokens,output_tokens\n")
		for i := range rows {
			at := i + 10
			if i == early {
				at -= 5
			}
			fmt.Fprintf(&b, "%d,1,1\n", at)
		}
		return b.String()
	}
	for _, c := range []struct {
		rows, early, served int
		want                string
	}{
		{ahead, 100, ahead, ""},
		{ahead, ahead - 1, ahead, ""},
		{ahead + 1, 100, 0, "trace: f:102: the row is 4ms before one above it: sort the file"},
		{ahead + 1, ahead, ahead, "trace: f:65538: the row is 4ms before one above it"},
		{ahead + 9, ahead + 8, ahead + 8, "trace: f:65546: the row is 4ms before one above it"},
		{ahead + 9, -1, ahead + 9, ""},
	} {
		rows, err := read(long(c.rows, c.early), Options{})
		if len(rows) != c.served || (err == nil) != (c.want == "") || err != nil && !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%d rows, number %d early: %d served, %v; want %d, %q", c.rows, c.early, len(rows), err, c.served, c.want)
		}
	}
}

func TestOptions(t *testing.T) {
	const text = "t_ms,input_tokens,output_tokens\n5,1,1\n7,1,1\n8,1,1\n105,1,1\n"
	for _, c := range []struct {
		o    Options
		want []time.Duration
	}{
		{Options{}, []time.Duration{0, 2 * ms, 3 * ms, 100 * ms}},
		{Options{Stretch: 0.5}, []time.Duration{0, 1 * ms, 1500 * time.Microsecond, 50 * ms}},
		{Options{Stretch: 3}, []time.Duration{0, 6 * ms, 9 * ms, 300 * ms}},
		{Options{Rows: 2}, []time.Duration{0, 2 * ms}},
		{Options{Rows: 9}, []time.Duration{0, 2 * ms, 3 * ms, 100 * ms}},
		{Options{Until: 3 * ms}, []time.Duration{0, 2 * ms}},
		{Options{Until: 3*ms + 1}, []time.Duration{0, 2 * ms, 3 * ms}},
		{Options{Until: 6 * ms, Stretch: 3}, []time.Duration{0}},
	} {
		rows, err := read(text, c.o)
		var got []time.Duration
		for _, row := range rows {
			got = append(got, row.At)
		}
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%+v: got %v, %v, want %v", c.o, got, err, c.want)
		}
	}
}

// A prefix of blocks seen before is cached; a block seen in the middle is not.
func TestPrefix(t *testing.T) {
	const text = `{"timestamp":0,"input_length":1100,"output_length":1,"hash_ids":[1,2,3]}
{"timestamp":1,"input_length":1536,"output_length":1,"hash_ids":[1,2,4]}
{"timestamp":2,"input_length":1100,"output_length":1,"hash_ids":[1,2,3]}
{"timestamp":3,"input_length":1536,"output_length":1,"hash_ids":[5,2,3]}
{"timestamp":4,"input_length":0,"output_length":1}
`
	for _, on := range []bool{true, false} {
		want := []int64{0, 0, 0, 0, 0}
		if on {
			want = []int64{0, 1024, 1100, 0, 0}
		}
		rows, err := read(text, Options{Prefix: on})
		var got []int64
		for _, row := range rows {
			got = append(got, row.Cached)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("prefix %v: got %d, %v, want %d", on, got, err, want)
		}
	}
}

func TestGzip(t *testing.T) {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write([]byte("t_ms,input_tokens,output_tokens\n5,1,1\n"))
	z.Close()
	if rows, err := read(packed.String(), Options{}); err != nil || len(rows) != 1 {
		t.Errorf("got %v, %v", rows, err)
	}
	if rows, err := read(packed.String()[:packed.Len()-9], Options{}); err == nil || len(rows) > 0 {
		t.Errorf("a file cut off: %v, %v", rows, err)
	}
}

// Whatever is read, no input panics, and the rows keep what Row promises.
func FuzzReader(f *testing.F) {
	for _, text := range []string{
		"t_ms,client,input_tokens,output_tokens,reason_ratio\n0,23,203,725,0.818\n61,65,2913,758,0.754\n",
		"t_ms,client,text_tokens,image_tokens,image_count,output_tokens\n0,7,75,252,1,164\n",
		"TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:15:46.6805900,374,44\r\n",
		ownHeader + "\n9,a,b,1,2,3,1\n8,,,1,2,,\n",
		`{"timestamp":0,"input_length":1100,"output_length":1,"hash_ids":[1,2,3]}` + "\n" + `{"timestamp":0,"input_length":600,"output_length":1,"hash_ids":[1,2]}`,
		"\x1f\x8b\x08\x00",
	} {
		f.Add(text, 0.0, 0)
		f.Add(text, 2.5, 1)
	}
	f.Fuzz(func(t *testing.T, text string, stretch float64, limit int) {
		rows, err := read(text, Options{Stretch: stretch, Rows: limit, Prefix: true})
		if err != nil && len(rows) > 0 && len(text) < ahead {
			if !strings.Contains(err.Error(), "292 years") {
				t.Fatalf("%d rows of a short broken file: %v", len(rows), err)
			}
		}
		var last time.Duration
		seen := map[int]bool{}
		for _, r := range rows {
			if r.At < last || seen[r.Index] || r.Cached < 0 || r.Cached > r.Input || r.Reasoning < 0 || r.Reasoning > r.Output ||
				max(r.Input, r.Output, r.MaxOutput, r.Images) > mostTokens || min(r.Input, r.Output, r.MaxOutput, r.Images) < 0 {
				t.Fatalf("row %+v after %v", r, last)
			}
			last, seen[r.Index] = r.At, true
		}
		if limit > 0 && len(rows) > limit {
			t.Fatalf("%d rows, want at most %d", len(rows), limit)
		}
	})
}

// A minute of ServeGen's rate, 727 times over.
func BenchmarkReader(b *testing.B) {
	var text strings.Builder
	text.WriteString("t_ms,client,input_tokens,output_tokens,reason_ratio\n")
	for i := range 100_000 {
		fmt.Fprintf(&text, "%d,%d,%d,%d,0.818\n", i*60, i%73, 100+i%3000, 300+i%700)
	}
	b.ReportAllocs()
	b.SetBytes(int64(text.Len()))
	for b.Loop() {
		rows := 0
		r, err := NewReader(strings.NewReader(text.String()), "f", Options{})
		if err != nil {
			b.Fatal(err)
		}
		for _, err := range r.Rows() {
			if err != nil {
				b.Fatal(err)
			}
			rows++
		}
		if rows != 100_000 {
			b.Fatal(rows)
		}
	}
}
