package standin

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
)

// bytesPerToken is what a token of a prompt is taken to be long.
const bytesPerToken = 4

var lexicon = [...]string{"water", "flows", "by", "right", "and", "priority", "where", "the", "river", "is", "measured", "at", "every", "gate", "so", "nobody", "waits", "in", "vain", "."}

// compose makes the reply of a call, a token a word.
func compose(c *call) []string {
	r := rand.New(rand.NewPCG(c.Seed, uint64(c.output))) //nolint:gosec // it is a text, and the same for the same request
	text := make([]string, c.output)
	for i := range text {
		text[i] = lexicon[r.IntN(len(lexicon))]
		if i > 0 {
			text[i] = " " + text[i]
		}
	}
	return text
}

// prompt counts the tokens of texts within a value, and makes a seed of them.
func prompt(values ...any) (tokens int64, seed uint64) {
	h := fnv.New64a()
	var bytes int64
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			bytes += int64(len(v))
			_, _ = h.Write([]byte(v)) // never fails
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			for _, key := range [...]string{"content", "text", "input", "arguments", "name", "description", "function", "parameters", "input_schema", "output", "thinking", "partial", "url", "image_url", "data", "source", "tool_calls", "properties"} {
				if x, ok := v[key]; ok {
					walk(x)
				}
			}
		}
	}
	for _, v := range values {
		walk(v)
	}
	return (bytes + bytesPerToken - 1) / bytesPerToken, h.Sum64()
}

// number reads the first of several fields that is there, 0 if none is.
func number(body map[string]any, names ...string) (int64, *failure) {
	for _, name := range names {
		switch v := body[name].(type) {
		case nil:
		case float64:
			if v != float64(int64(v)) || v < 1 || v > maxOutput {
				return 0, badField(name, fmt.Sprintf("Invalid '%s': expected a whole number from 1 to %d, but got %v instead.", name, maxOutput, v))
			}
			return int64(v), nil
		default:
			return 0, badField(name, fmt.Sprintf("Invalid type for '%s': expected an integer.", name))
		}
	}
	return 0, nil
}

// model reads the model's name.
func model(body map[string]any) (string, *failure) {
	name, _ := body["model"].(string)
	if name == "" {
		return "", badField("model", "you must provide a model parameter")
	}
	return name, nil
}

// tool gives the name of the tool that a request wants called: the one that it names, or the
// first where any will do, until a result of it is there.
func tool(body map[string]any, answered bool) string {
	list, _ := body["tools"].([]any)
	if len(list) == 0 || answered {
		return ""
	}
	switch choice := body["tool_choice"].(type) {
	case string:
		if choice != "required" && choice != "any" {
			return ""
		}
	case map[string]any:
		if kind, _ := choice["type"].(string); kind == "none" || kind == "auto" {
			return ""
		}
		if f, ok := choice["function"].(map[string]any); ok {
			choice = f
		}
		if name, _ := choice["name"].(string); name != "" {
			return name
		}
	default:
		return ""
	}
	first, _ := list[0].(map[string]any)
	if f, ok := first["function"].(map[string]any); ok {
		first = f
	}
	name, _ := first["name"].(string)
	return name
}
