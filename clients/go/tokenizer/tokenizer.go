package tokenizer

import (
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/tiktoken-go/tokenizer"
)

// New makes a counter of the tokens of a text. It does not know (ok is false) models whose
// vocabulary is not public, those of others than OpenAI, texts of more than 256 KiB, and anything
// for the moment that a vocabulary takes to load: the first text of a model begins that in the
// background. It is safe for concurrent use.
func New() func(model, text string) (tokens int, ok bool) {
	known := map[tokenizer.Encoding]*vocabulary{}
	for _, encoding := range []tokenizer.Encoding{tokenizer.O200kBase, tokenizer.Cl100kBase} {
		known[encoding] = &vocabulary{encoding: encoding}
	}
	return func(model, text string) (int, bool) { return known[encodingOf(model)].count(text) }
}

const (
	// longest is the most bytes of a text that are counted: they may take as long as the call's
	// way to the provider.
	longest = 256 << 10
	part    = 1 << 10
)

// cl100k are the beginnings of names whose vocabulary is the one before o200k.
var cl100k = []string{"gpt-3.5", "gpt-35", "gpt-4-", "text-embedding-3", "text-embedding-ada-002"}

// o200k are those of the present vocabulary, which new models have kept so far.
var o200k = []string{"gpt-", "chatgpt-", "o1", "o3", "o4"}

// encodingOf is a model's vocabulary; empty: it has none that is public. Names may have a vendor
// before them (openai/gpt-5), or be tuned (ft:gpt-4o:acme).
func encodingOf(model string) tokenizer.Encoding {
	model = strings.TrimPrefix(strings.TrimPrefix(model, "openai/"), "ft:")
	if name, _, _ := strings.Cut(model, ":"); name == "gpt-4" || begins(model, cl100k) {
		return tokenizer.Cl100kBase
	}
	if begins(model, o200k) {
		return tokenizer.O200kBase
	}
	return ""
}

func begins(model string, with []string) bool {
	for _, prefix := range with {
		if strings.HasPrefix(model, prefix) {
			return true
		}
	}
	return false
}

// vocabulary is loaded when it is first asked for.
type vocabulary struct {
	encoding tokenizer.Encoding
	asked    atomic.Bool
	codec    atomic.Pointer[tokenizer.Codec] // nil until it is loaded
}

func (v *vocabulary) count(text string) (int, bool) {
	if v == nil {
		return 0, false
	}
	codec := v.codec.Load()
	if codec == nil {
		if !v.asked.Swap(true) {
			go v.load()
		}
		return 0, false
	}
	if len(text) > longest {
		return 0, false
	}
	sum := 0
	for text != "" {
		end := cut(text)
		n, err := (*codec).Count(text[:end])
		if err != nil {
			return 0, false
		}
		sum, text = sum+n, text[end:]
	}
	return sum, true
}

// cut is where a text is parted, so that no run of white space is long: the vocabularies' pattern
// takes the square of its length. Between a letter and a space before a letter they part it
// anyway, so the count is the same; where there is no such place in a part it may be a token or
// two too high.
func cut(text string) int {
	if len(text) <= part {
		return len(text)
	}
	for i := part - 1; i > 0; i-- {
		if text[i] == ' ' && letter(text[i-1]) && letter(text[i+1]) {
			return i
		}
	}
	end := part
	for end > part-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return end
}

func letter(b byte) bool { return 'a' <= b|0x20 && b|0x20 <= 'z' }

func (v *vocabulary) load() {
	if codec, err := tokenizer.Get(v.encoding); err == nil {
		v.codec.Store(&codec)
	}
}
