package watermaster

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"unicode/utf8"
)

// What the service takes of an answer; see Observation in limiter.proto.
const (
	mostHeaders     = 64
	mostHeaderName  = 128
	mostHeaderValue = 1_024
	mostBody        = 4_096
)

// rateHeaders are the beginnings of the names of headers that speak of rates.
var rateHeaders = []string{
	"x-ratelimit", "ratelimit", "anthropic-ratelimit", "anthropic-priority", "anthropic-fast", "x-tokenlimit", "retry-after", "x-ms-",
	"x-should-retry",
}

// observe tells what was seen of an answer: no prompt and no key.
func observe(status int, h http.Header, body []byte) *Observation {
	o := &Observation{Status: status, Body: observedBody(status, body)}
	for name, values := range h {
		if len(values) == 0 || len(o.Headers) >= mostHeaders {
			continue
		}
		if name = strings.ToLower(name); len(name) > mostHeaderName || !ofRates(name) {
			continue
		}
		if o.Headers == nil {
			o.Headers = make(map[string]string, 8)
		}
		o.Headers[name] = upTo(strings.ToValidUTF8(values[0], "�"), mostHeaderValue)
	}
	return o
}

func ofRates(name string) bool {
	for _, begin := range rateHeaders {
		if strings.HasPrefix(name, begin) {
			return true
		}
	}
	return false
}

// observedBody gives what the service may see of an error's body: its beginning where it
// speaks of limits, credit or the provider itself; else just what kind of error it is, since the
// message may quote the prompt or the key.
func observedBody(status int, body []byte) string {
	switch {
	case status < 400:
		return ""
	case status == 402, status == 413, status == 429, status >= 500:
		return upTo(strings.ToValidUTF8(string(body[:min(len(body), mostBody+utf8.UTFMax)]), ""), mostBody)
	}
	var e struct {
		Error *struct {
			Type json.RawMessage `json:"type"`
			Code json.RawMessage `json:"code"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &e) != nil || e.Error == nil {
		return ""
	}
	var b bytes.Buffer
	b.WriteString(`{"error":{`)
	for _, x := range []struct {
		name  string
		value json.RawMessage
	}{{`"type":`, e.Error.Type}, {`"code":`, e.Error.Code}} {
		if len(x.value) == 0 || x.value[0] != '"' || b.Len()+len(x.value) > mostBody-16 {
			continue
		}
		if b.Bytes()[b.Len()-1] != '{' {
			b.WriteByte(',')
		}
		b.WriteString(x.name)
		b.Write(x.value)
	}
	b.WriteString("}}")
	return b.String()
}

// upTo cuts a string at a character.
func upTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
