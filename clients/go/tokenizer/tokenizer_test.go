package tokenizer

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tiktoken-go/tokenizer"
)

// loaded waits until the counter knows the model.
func loaded(t testing.TB, count func(model, text string) (int, bool), model string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, ok := count(model, ""); ok {
			return
		}
	}
	t.Fatal("the vocabulary does not load")
}

// The counts are OpenAI's own, by tiktoken.
func TestCount(t *testing.T) {
	count := New()
	if n, ok := count("gpt-5", "hello"); ok || n != 0 {
		t.Errorf("%d, %v before anything is loaded", n, ok)
	}
	loaded(t, count, "gpt-5")
	loaded(t, count, "gpt-4")
	for _, row := range []struct {
		model, text string
		want        int
	}{
		{"gpt-5", "", 0},
		{"gpt-5", "hello world", 2},
		{"gpt-5", "tiktoken is great!", 6},
		{"gpt-4", "tiktoken is great!", 6},
		{"gpt-5", "antidisestablishmentarianism", 6},
		{"gpt-4", "antidisestablishmentarianism", 6},
		{"gpt-5", "お誕生日おめでとう", 8},
		{"gpt-4", "お誕生日おめでとう", 9},
	} {
		if got, ok := count(row.model, row.text); !ok || got != row.want {
			t.Errorf("%s, %q: %d, %v; want %d", row.model, row.text, got, ok, row.want)
		}
	}
}

func TestEncodingOf(t *testing.T) {
	for model, want := range map[string]string{
		"gpt-5": "o200k_base", "gpt-5.2-codex": "o200k_base", "gpt-4o-mini": "o200k_base", "gpt-4.1": "o200k_base", "o3-mini": "o200k_base",
		"chatgpt-4o-latest": "o200k_base", "ft:gpt-4o:acme::x": "o200k_base", "openai/gpt-5": "o200k_base", "gpt-oss-120b": "o200k_base",
		"gpt-4": "cl100k_base", "gpt-4-turbo": "cl100k_base", "gpt-3.5-turbo": "cl100k_base", "gpt-35-turbo": "cl100k_base", "ft:gpt-4:acme": "cl100k_base",
		"text-embedding-3-large": "cl100k_base",
		"claude-sonnet-5":        "", "mistral-large": "", "": "", "llama-4": "",
	} {
		if got := string(encodingOf(model)); got != want {
			t.Errorf("%q: %q, want %q", model, got, want)
		}
	}
}

// Long texts are counted in parts; that makes no difference to words, and little to anything else.
func TestPartsCountTheSame(t *testing.T) {
	count := New()
	loaded(t, count, "gpt-5")
	loaded(t, count, "gpt-4")
	texts := []string{
		strings.Repeat("The quick brown fox can't jump 12345 times, said O'Neill (again).\n\n\tNext: ", 300),
		strings.Repeat("誕生日 おめでとう ", 500), strings.Repeat("a", 5000), strings.Repeat(" ", 5000), strings.Repeat("\r\n \t", 1000), strings.Repeat("\xff", 3000),
	}
	for _, encoding := range []tokenizer.Encoding{tokenizer.O200kBase, tokenizer.Cl100kBase} {
		codec, err := tokenizer.Get(encoding)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			want, _ := codec.Count(text)
			got, ok := count(map[tokenizer.Encoding]string{tokenizer.O200kBase: "gpt-5", tokenizer.Cl100kBase: "gpt-4"}[encoding], text)
			more := 0
			if i > 0 {
				more = 2 * (1 + len(text)/part)
			}
			if !ok || got < want || got > want+more {
				t.Errorf("%s, text %d: %d, want %d", encoding, i, got, want)
			}
		}
	}
	if _, ok := count("gpt-5", strings.Repeat("a", longest+1)); ok {
		t.Error("a text that is too long is counted")
	}
}

func TestCountsAtOnce(t *testing.T) {
	count := New()
	loaded(t, count, "gpt-5")
	text := strings.Repeat("the quick brown fox jumps over the lazy dog. ", 50)
	want, _ := count("gpt-5", text)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				if got, ok := count("gpt-5", text); !ok || got != want {
					t.Errorf("%d, %v; want %d", got, ok, want)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkCount(b *testing.B) {
	for name, text := range map[string]string{
		"text":    strings.Repeat("The quick brown fox jumps over the lazy dog, and then some. ", 1000),
		"spaces":  strings.Repeat(" ", 60_000),
		"letters": strings.Repeat("a", 60_000), "newlines": strings.Repeat("\n ", 30_000), "marks": strings.Repeat("=", 60_000), "kanji": strings.Repeat("誕", 20_000),
	} {
		b.Run(name, func(b *testing.B) {
			count := New()
			loaded(b, count, "gpt-5")
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				count("gpt-5", text)
			}
		})
	}
}
