package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
)

// Bounds on what is read of a response's body.
const (
	maxBody      = 4 << 10 // bytes; the rest is not looked at
	maxBodyDepth = 32
	maxQuotas    = 8
)

// An errorBody is what an error's body says, whatever its shape (providers.md §1.5). All
// but quotas is in lower case.
type errorBody struct {
	kind    string   // error.type, AWS's __type
	code    string   // error.code
	status  string   // error.status of Google
	message string   // error.message; all of a body that isn't JSON
	retry   string   // RetryInfo's retryDelay
	quotas  []string // quotaId and quotaMetric of Google's violations

	inner [4]bool // whether the field of that index was found inside of "error"
}

const (
	fieldKind = iota
	fieldCode
	fieldStatus
	fieldMessage
)

// readBody reads an error's body. It is tolerant: JSON that was cut off gives what stands
// before the cut, a server-sent event its data, and what isn't JSON at all is a message.
func readBody(body []byte) (b errorBody) {
	body = bytes.TrimSpace(body[:min(len(body), maxBody)])
	if len(body) == 0 {
		return b
	}
	text := body
	if body[0] != '{' && body[0] != '[' {
		at := bytes.Index(body, []byte("data:"))
		if at < 0 || body[0] == '<' {
			b.message = strings.ToLower(string(body))
			return b
		}
		text = bytes.TrimSpace(body[at+len("data:"):])
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := b.value(dec, "", false, 0); err != nil {
		// What was cut off is in none of the fields.
		b.message += " " + strings.ToLower(string(text))
	}
	return b
}

// value reads one value of JSON that stands under a key.
func (b *errorBody) value(dec *json.Decoder, key string, inError bool, depth int) error {
	token, err := dec.Token()
	if err != nil {
		return err
	}
	switch v := token.(type) {
	case json.Delim:
		if depth == maxBodyDepth {
			return errTooDeep
		}
		for dec.More() {
			name := key
			if v == '{' {
				token, err := dec.Token()
				if err != nil {
					return err
				}
				name, _ = token.(string)
			}
			if err := b.value(dec, name, inError || key == "error", depth+1); err != nil {
				return err
			}
		}
		_, err = dec.Token()
		return err
	case string:
		b.put(key, v, inError)
	case json.Number:
		b.put(key, v.String(), inError)
	}
	return nil
}

var errTooDeep = errors.New("nested too deep")

// put takes over a field. What stands inside of "error" comes before what stands outside,
// and else the first before the others.
func (b *errorBody) put(key, value string, inError bool) {
	var field int
	var to *string
	switch strings.ToLower(key) {
	case "type", "__type":
		field, to = fieldKind, &b.kind
	case "code":
		field, to = fieldCode, &b.code
	case "status":
		field, to = fieldStatus, &b.status
	case "message", "detail", "msg":
		field, to = fieldMessage, &b.message
	case "error":
		// {"error": "…"}
		field, to, inError = fieldMessage, &b.message, true
	case "raw":
		// OpenRouter's error.metadata.raw: the body of the provider behind it.
		b.message += " " + strings.ToLower(value)
		return
	case "retrydelay":
		if b.retry == "" {
			b.retry = strings.ToLower(value)
		}
		return
	case "quotaid", "quotametric":
		if len(b.quotas) < maxQuotas {
			b.quotas = append(b.quotas, value)
		}
		return
	default:
		return
	}
	if *to != "" && (b.inner[field] || !inError) {
		return
	}
	*to, b.inner[field] = strings.ToLower(value), inError
}

// says tells whether one of several phrases is part of the message. They are in lower case.
func (b *errorBody) says(phrases ...string) bool {
	for _, p := range phrases {
		if strings.Contains(b.message, p) {
			return true
		}
	}
	return false
}

// is tells whether the code, the type or the status is one of several names.
func (b *errorBody) is(names ...string) bool {
	for _, n := range names {
		if b.code == n || b.kind == n || b.status == n {
			return true
		}
	}
	return false
}

// setKind takes over the name of an exception that AWS tells in a header, as
// ThrottlingException:http://…; in a body it may stand behind a '#'.
func (b *errorBody) setKind(name string) {
	if name != "" {
		b.kind = strings.ToLower(name)
	}
	if _, after, ok := strings.Cut(b.kind, "#"); ok {
		b.kind = after
	}
	b.kind, _, _ = strings.Cut(b.kind, ":")
}
