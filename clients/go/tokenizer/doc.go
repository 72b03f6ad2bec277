// Package tokenizer counts tokens as OpenAI's models do, for watermaster.Options.Tokenizer:
//
//	limiter, err := watermaster.New("", watermaster.Options{Tokenizer: tokenizer.New()})
//
// It is a module of its own, since its vocabularies add 12 MB to a program, and 10 MB of memory
// once they are used.
package tokenizer
