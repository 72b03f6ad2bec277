package watermaster

import (
	"bytes"
	"encoding/json"
)

// mostEvent is how long an event may be that is read, and mostHeld how long one may be
// that is held back to see whether it is the extra one with the usage.
const (
	mostEvent = 16 << 20
	mostHeld  = 64 << 10
)

var byteOrderMark = []byte("\xef\xbb\xbf")

// stream reads the server-sent events of an answer while they pass by.
//
// Where the client has asked for the usage itself, the extra event with it is hidden: events
// go on when they are complete, all bytes but those of that event unchanged.
type stream struct {
	tally
	hide    bool
	ended   bool     // the event that ends it has been seen
	failure *failure // the error that was told in it
	id      string   // of a response

	line    []byte // the beginning of a line
	data    []byte // of the event
	hasData bool
	name    []byte // of the event
	long    bool   // the event is longer than is read
	begun   bool   // the first line has been read
	mark    bool   // the stream begins with a byte order mark
	cr      bool   // the last byte was a carriage return: a line feed may belong to it

	held   []byte // bytes of the event that may have to be hidden
	out    []byte // bytes for the caller
	open   bool   // the event is too long to be hidden: its bytes go on at once
	hidden bool   // the event before was
}

// failure is an error that a stream tells of after its status of 200.
type failure struct {
	status int    // that the error would have had
	body   []byte // the error's object
}

func newStream(w wire, hide bool) stream { return stream{tally: newTally(w), hide: hide} }

// feed takes the next bytes of the answer.
func (s *stream) feed(p []byte) {
	if s.cr && len(p) > 0 {
		s.cr = false
		if p[0] == '\n' {
			s.afterReturn(p[:1])
			p = p[1:]
		}
	}
	feed := -1 // of the next line feed in p; len(p): there is none
	for at := 0; at < len(p); {
		if feed < at {
			if feed = bytes.IndexByte(p[at:], '\n'); feed < 0 {
				feed = len(p)
			} else {
				feed += at
			}
		}
		end := feed
		if i := bytes.IndexByte(p[at:feed], '\r'); i >= 0 {
			end = at + i
		}
		if end == len(p) {
			s.begin(p[at:])
			return
		}
		next := end + 1
		if p[end] == '\r' {
			if next < len(p) && p[next] == '\n' {
				next++
			} else if next == len(p) {
				s.cr = true
			}
		}
		s.through(p[at:end], p[at:next])
		at = next
	}
}

// begin keeps the beginning of a line.
func (s *stream) begin(p []byte) {
	s.pass(p)
	if len(s.line)+len(p) > mostEvent {
		s.long = true
		p = p[:min(len(p), max(0, 1-len(s.line)))] // what is left says that the line is not empty
	}
	s.line = append(s.line, p...)
}

// through takes the rest of a line, without and with its end.
func (s *stream) through(rest, raw []byte) {
	line := rest
	if len(s.line) > 0 {
		s.begin(rest)
		line = s.line
		raw = raw[len(rest):]
	}
	s.pass(raw)
	if !s.begun {
		s.begun = true
		if s.mark = bytes.HasPrefix(line, byteOrderMark); s.mark {
			line = line[len(byteOrderMark):]
		}
	}
	if len(line) == 0 {
		s.settle()
	} else {
		s.field(line)
	}
	s.line = s.line[:0]
}

// pass takes bytes of the event on their way to the caller.
func (s *stream) pass(p []byte) {
	switch {
	case !s.hide:
	case s.open:
		s.out = append(s.out, p...)
	case len(s.held)+len(p) > mostHeld:
		s.open = true
		s.out = append(append(s.out, s.held...), p...)
		s.held = s.held[:0]
	default:
		s.held = append(s.held, p...)
	}
}

// afterReturn takes the line feed that belongs to the carriage return before it: to the event
// before, if that return ended it.
func (s *stream) afterReturn(p []byte) {
	switch {
	case !s.hide || s.hidden:
	case len(s.held) > 0 || s.open:
		s.pass(p)
	default:
		s.out = append(s.out, p...)
	}
}

// field takes a line of an event.
func (s *stream) field(line []byte) {
	name, value := line, []byte(nil)
	if i := bytes.IndexByte(line, ':'); i >= 0 {
		name, value = line[:i], line[i+1:]
	}
	if len(value) > 0 && value[0] == ' ' {
		value = value[1:]
	}
	switch string(name) {
	case "data":
		if s.hasData {
			s.data = append(s.data, '\n')
		}
		s.hasData = true
		if len(s.data)+len(value) > mostEvent {
			s.long = true
			return
		}
		s.data = append(s.data, value...)
	case "event":
		s.name = append(s.name[:0], value...)
	}
	s.hidden = false
}

// settle ends an event.
func (s *stream) settle() {
	s.hidden = false
	if s.hasData && !s.long {
		s.hidden = s.examine(s.data) && s.hide && !s.open
	}
	if s.hide {
		if !s.hidden {
			s.out = append(s.out, s.held...)
		} else if s.mark {
			s.out = append(s.out, byteOrderMark...)
		}
	}
	s.mark, s.open, s.long, s.hasData = false, false, false, false
	s.held, s.data, s.name = s.held[:0], s.data[:0], s.name[:0]
}

// end takes the end of the answer, which may have come within an event.
func (s *stream) end() {
	if len(s.line) > 0 {
		s.through(nil, nil)
	}
	if s.hasData || len(s.held) > 0 {
		s.settle()
	}
}

// examine reads an event, and says whether it is the extra one with the usage.
func (s *stream) examine(data []byte) (extra bool) {
	switch s.wire {
	case wireResponses:
		s.examineResponse(data)
	case wireMessages:
		s.examineMessage(data)
	default:
		return s.examineChunk(data)
	}
	return false
}

var (
	wordUsage = []byte(`"usage"`)
	wordError = []byte(`"error"`)
	wordDone  = []byte("[DONE]")
)

// tells says whether an event can matter for its usage or error: no string's text contains a
// bare quote, so that the word stands there as it is only where it is a name or value.
func tells(data []byte) bool {
	for rest := data; ; {
		i := bytes.Index(rest, wordUsage)
		if i < 0 {
			break
		}
		rest = bytes.TrimLeft(rest[i+len(wordUsage):], " \t\r\n")
		if len(rest) > 0 && rest[0] == ':' && isObject(rest[1:]) {
			return true
		}
	}
	return bytes.Contains(data, wordError)
}

// examineChunk reads a chunk of chat or completions.
func (s *stream) examineChunk(data []byte) (extra bool) {
	if bytes.Equal(bytes.TrimSpace(data), wordDone) {
		s.ended = true
		return false
	}
	if !tells(data) {
		return false
	}
	var e struct {
		Choices json.RawMessage `json:"choices"`
		Usage   json.RawMessage `json:"usage"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &e) != nil {
		return false
	}
	if isObject(e.Error) {
		s.fail(e.Error)
	}
	if !isObject(e.Usage) {
		return false
	}
	s.add(e.Usage)
	var choices []json.RawMessage
	return e.Choices != nil && json.Unmarshal(e.Choices, &choices) == nil && choices != nil && len(choices) == 0
}

// responseEnds are the types of events that end a response.
var responseEnds = [][]byte{[]byte("response.completed"), []byte("response.incomplete"), []byte("response.failed")}

func (s *stream) examineResponse(data []byte) {
	matters := tells(data)
	for _, end := range responseEnds {
		matters = matters || bytes.Equal(s.name, end) || bytes.Contains(data, end)
	}
	if !matters {
		return
	}
	var e struct {
		Type     string          `json:"type"`
		Response json.RawMessage `json:"response"`
		Error    json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &e) != nil {
		return
	}
	var r struct {
		ID    json.RawMessage `json:"id"`
		Usage json.RawMessage `json:"usage"`
		Error json.RawMessage `json:"error"`
	}
	if isObject(e.Response) && json.Unmarshal(e.Response, &r) == nil {
		if id := decode(r.ID); id != "" {
			s.id = id
		}
		if isObject(r.Usage) {
			s.add(r.Usage)
		}
	}
	switch kind := s.kind(e.Type); kind {
	case "response.completed", "response.incomplete":
		s.ended = true
	case "response.failed":
		s.ended = true
		s.fail(r.Error)
	case "error":
		if isObject(e.Error) {
			data = e.Error
		}
		s.fail(data)
	}
}

func (s *stream) examineMessage(data []byte) {
	if !tells(data) && !bytes.Contains(data, []byte(`"message_stop"`)) && string(s.name) != "message_stop" && string(s.name) != "error" {
		return
	}
	var e struct {
		Type    string          `json:"type"`
		Message json.RawMessage `json:"message"`
		Usage   json.RawMessage `json:"usage"`
		Error   json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &e) != nil {
		return
	}
	var m struct {
		Usage json.RawMessage `json:"usage"`
	}
	if isObject(e.Message) && json.Unmarshal(e.Message, &m) == nil && isObject(m.Usage) {
		s.add(m.Usage)
	}
	if isObject(e.Usage) {
		s.add(e.Usage)
	}
	switch s.kind(e.Type) {
	case "message_stop":
		s.ended = true
	case "error":
		s.fail(e.Error)
	}
}

// kind is the event's type: that of its data, else its name.
func (s *stream) kind(typed string) string {
	if typed != "" {
		return typed
	}
	return string(s.name)
}

// fail takes the error that the stream tells of.
func (s *stream) fail(object []byte) {
	if !isObject(object) {
		object = []byte("{}")
	}
	var e struct {
		Type json.RawMessage `json:"type"`
		Code json.RawMessage `json:"code"`
	}
	status := 500
	if json.Unmarshal(object, &e) == nil {
		if status = statusOf(decode(e.Code)); status == 0 {
			status = statusOf(decode(e.Type))
		}
		if status == 0 {
			status = 500
		}
	}
	s.failure = &failure{status, bytes.Clone(object)}
}

// statusOf gives the status that a kind of error has when it is no stream's; 0: none known.
func statusOf(kind string) int {
	switch kind {
	case "rate_limit_error", "rate_limit_exceeded":
		return 429
	case "overloaded_error":
		return 529
	case "api_error", "server_error", "timeout_error":
		return 500
	case "invalid_request_error":
		return 400
	}
	return 0
}
