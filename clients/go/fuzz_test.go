package watermaster

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// A stream is forwarded byte by byte, but for events that tell nothing but the usage, whatever it
// is cut into; and what is read of it does not hang on the cuts either.
func FuzzStream(f *testing.F) {
	for _, c := range cases[usageCase](f, "usage.json") {
		if c.Stream {
			f.Add(c.Body, string(c.Wire), c.Hide, uint8(3))
		}
	}
	f.Add("data: {\"choices\":[],\"usage\":{}}\r\r\n\r\ndata: x\r", "chat", true, uint8(1))
	f.Add("\xef\xbb\xbf\n\xef\xbb\xbfdata: a\n\n", "chat", true, uint8(2))
	f.Fuzz(func(t *testing.T, text, of string, hide bool, size uint8) {
		w := wire(of)
		read := func(size int) (s stream, out string) {
			s = newStream(w, hide)
			for _, piece := range pieces(text, []int{max(size, 1)}) {
				s.feed([]byte(piece))
			}
			s.end()
			return s, string(s.out)
		}
		whole, out := read(len(text))
		cut, outOfCut := read(int(size))
		if out != outOfCut {
			t.Errorf("whole: %q, cut: %q", out, outOfCut)
		}
		if whole.last != cut.last || whole.ended != cut.ended || !reflect.DeepEqual(whole.failure, cut.failure) || whole.id != cut.id {
			t.Errorf("whole: %+v, cut: %+v", whole, cut)
		}
		switch {
		case !hide && out != "":
			t.Errorf("a stream that hides nothing holds %q", out)
		case hide && out != text && !onlyHides(text, out):
			t.Errorf("%q became %q", text, out)
		}
	})
}

// onlyHides says whether out is text without some of its events, each of which has a usage.
func onlyHides(text, out string) bool {
	if mark := string(byteOrderMark); strings.HasPrefix(text, mark) {
		if !strings.HasPrefix(out, mark) {
			return false
		}
		text, out = text[len(mark):], out[len(mark):]
	}
	for text != "" {
		event := text[:eventLength(text)]
		if strings.HasPrefix(out, event) {
			out = out[len(event):]
		} else if !strings.Contains(event, `"usage"`) && !strings.Contains(event, `\u`) {
			return false
		}
		text = text[len(event):]
	}
	return out == ""
}

// eventLength is that of the first event, its blank line included, found in a plain way.
func eventLength(text string) int {
	line := 0
	for i := 0; i < len(text); i++ {
		if text[i] != '\n' && text[i] != '\r' {
			continue
		}
		blank := i == line
		if text[i] == '\r' && i+1 < len(text) && text[i+1] == '\n' {
			i++
		}
		if line = i + 1; blank {
			return line
		}
	}
	return len(text)
}

// The usage of a plain answer is that of the last member of this name, and does not hang on how
// the answer is cut.
func FuzzUsage(f *testing.F) {
	for _, c := range cases[usageCase](f, "usage.json") {
		if !c.Stream {
			f.Add(c.Body, uint8(1))
		}
	}
	f.Add(`{"a":{"usage":{"prompt_tokens":1}},"usage":{"prompt_tokens":2},"b":["usage",":"]}`, uint8(2))
	f.Fuzz(func(t *testing.T, text string, size uint8) {
		read := func(size int) plain {
			var p plain
			for _, piece := range pieces(text, []int{max(size, 1)}) {
				p.feed([]byte(piece))
			}
			return p
		}
		p, cut := read(len(text)), read(int(size))
		if p.state != cut.state || !bytes.Equal(p.usage, cut.usage) || !bytes.Equal(p.id, cut.id) {
			t.Errorf("whole: %q %q %v, cut: %q %q %v", p.usage, p.id, p.state, cut.usage, cut.id, cut.state)
		}
		var want map[string]json.RawMessage
		if len(text) > mostUsageBytes || strings.Contains(text, `\`) || json.Unmarshal([]byte(text), &want) != nil || want == nil {
			return
		}
		if p.state != plainWhole {
			t.Errorf("the end of %q was not seen", text)
		}
		if got := bytes.TrimSpace(p.usage); !bytes.Equal(got, want["usage"]) {
			t.Errorf("%q: got %q, want %q", text, got, want["usage"])
		}
	})
}

// A request is read where it is JSON, and only there; what is changed in it is nothing else.
func FuzzRequest(f *testing.F) {
	for _, c := range cases[requestCase](f, "requests.json") {
		if u, err := url.Parse(c.URL); err == nil && len(c.Body) < 4_000 {
			f.Add(c.Body, u.Path)
		}
	}
	f.Add(`{"model":"a","model":"b","stream":true,"stream_options":{"x":1},"n":1e400}`, "/chat/completions")
	f.Add(`{"mod\u0065l":"\ud83c\udf89\ud800","stream":true,"prompt":"\u00e9\n"}`, "/completions")
	f.Fuzz(func(t *testing.T, text, path string) {
		u := &url.URL{Scheme: "https", Host: "api.openai.com", Path: path}
		c := cursor{text: []byte(text)}
		c.value(false)
		if whole := !c.bad && c.peek() == 0 && c.at == len(text); whole != json.Valid([]byte(text)) {
			t.Errorf("%q: taken for JSON: %v", text, whole)
		}
		r, ok := readPayload(http.MethodPost, u, []byte(text), false)
		if !ok {
			return
		}
		if r.tokens < 0 || r.output != nil && (*r.output < 0 || *r.output > most) {
			t.Errorf("%q: %d tokens, %v at most", text, r.tokens, r.output)
		}
		var before, after map[string]any
		if err := unmarshal([]byte(text), &before); err != nil {
			t.Fatalf("%q was read: %v", text, err)
		}
		if err := unmarshal(r.rewritten("another \"name\"", true), &after); err != nil {
			t.Fatalf("%q became no JSON: %v", text, err)
		}
		before["model"] = "another \"name\""
		if r.askUsage {
			options, _ := before["stream_options"].(map[string]any)
			if options == nil {
				options = map[string]any{}
			}
			options["include_usage"] = true
			before["stream_options"] = options
		}
		if !reflect.DeepEqual(before, after) {
			t.Errorf("%q: got %v, want %v", text, after, before)
		}
	})
}

// unmarshal keeps numbers as they are written.
func unmarshal(text []byte, v any) error {
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	return in.Decode(v)
}
