package watermaster

import (
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// maxDepth is how deep arrays and objects may nest, as encoding/json has it: a body is read
// by recursion, and must not be able to use up the stack.
const maxDepth = 10_000

// cursor reads a JSON text from its beginning to its end, once, without building it.
// What breaks JSON's grammar sets bad; everything after that reads as nothing.
type cursor struct {
	text  []byte
	at    int
	depth int
	bad   bool
	texts []span // the strings that were walked, where a tokenizer shall see them
	keep  bool   // texts is filled
}

// span is a part of a text.
type span struct{ from, to int }

func (s span) of(text []byte) []byte { return text[s.from:s.to] }

// peek skips white space and gives the byte behind it; 0 at the end.
func (c *cursor) peek() byte {
	for ; c.at < len(c.text); c.at++ {
		switch b := c.text[c.at]; b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
	return 0
}

func (c *cursor) fail() {
	c.bad, c.at = true, len(c.text)
}

func (c *cursor) take(b byte) bool {
	if c.peek() != b {
		c.fail()
		return false
	}
	c.at++
	return true
}

// open enters an array or object.
func (c *cursor) open() bool {
	c.at++
	if c.depth++; c.depth > maxDepth {
		c.fail()
		return false
	}
	return true
}

// more says whether another element comes, and steps over the comma before it or the end.
func (c *cursor) more(first *bool, end byte) bool {
	if c.bad {
		return false
	}
	if c.peek() == end {
		c.at++
		c.depth--
		return false
	}
	if !*first && !c.take(',') {
		return false
	}
	*first = false
	return !c.bad
}

// key reads a member's name and its colon. The bytes are those of the text if nothing in
// them is escaped.
func (c *cursor) key() []byte {
	if c.peek() != '"' {
		c.fail()
		return nil
	}
	from := c.at
	t := c.string()
	name := c.text[from:c.at]
	if c.bad || !c.take(':') {
		return nil
	}
	if len(name)-2 != t.size() {
		return []byte(decode(name))
	}
	return name[1 : len(name)-1]
}

// letters counts what a string is made of, as bytes of UTF-8.
type letters struct{ ascii, other, symbols, white int }

func (t letters) size() int { return t.ascii + t.other }

// Counters of letters that are packed into a word, so that a byte costs one look and one
// addition; each holds what pack bytes can add up to.
const (
	packSymbol = 1 << 16
	packWhite  = 1 << 32
	packOther  = 1 << 48
	packStop   = 1 << 63
	pack       = 1<<15 - 1
)

// classes says what each byte of a string adds; packStop: the string ends here or
// something is escaped or wrong.
var classes, plainClasses = classify()

func classify() (stopping, plain [256]uint64) {
	for b := range plain {
		switch {
		case b < utf8.RuneSelf:
			plain[b] = 1
		default:
			plain[b] = packOther
		}
	}
	for _, b := range "0123456789{}[]\":,;=<>()/\\+_|#$%&*@~^" {
		plain[b] |= packSymbol
	}
	for _, b := range " \t\n\r" {
		plain[b] |= packWhite
	}
	stopping = plain
	for b := range 0x20 {
		stopping[b] = packStop
	}
	stopping['"'], stopping['\\'] = packStop, packStop
	return stopping, plain
}

func (t *letters) add(packed uint64) {
	t.ascii += int(packed & 0xffff)
	t.symbols += int(packed >> 16 & 0xffff)
	t.white += int(packed >> 32 & 0xffff)
	t.other += int(packed >> 48)
}

// string reads a string, of which the cursor is at the opening quote.
func (c *cursor) string() (t letters) {
	text, at := c.text, c.at+1
	for {
		end := min(len(text), at+pack)
		var sum uint64
		stopped := false
		for ; at < end; at++ {
			class := classes[text[at]]
			if class == packStop {
				stopped = true
				break
			}
			sum += class
		}
		t.add(sum)
		if !stopped {
			if at < len(text) {
				continue
			}
			c.fail()
			return t
		}
		if text[at] == '"' {
			c.at = at + 1
			return t
		}
		if text[at] != '\\' {
			c.fail()
			return t
		}
		n := t.escape(text[at:])
		if n == 0 {
			c.fail()
			return t
		}
		at += n
	}
}

// escape counts the letter that the text begins with, and gives the length of its
// spelling; 0: there is no such letter.
func (t *letters) escape(text []byte) int {
	if len(text) < 2 {
		return 0
	}
	b := text[1]
	switch b {
	case '"', '\\', '/':
	case 'b', 'f':
		b = 0
	case 'n', 'r', 't':
		b = '\n'
	case 'u':
		return t.unicode(text)
	default:
		return 0
	}
	t.add(plainClasses[b])
	return 2
}

func (t *letters) unicode(text []byte) int {
	r, ok := hex4(text)
	if !ok {
		return 0
	}
	n := 6
	if utf16.IsSurrogate(r) {
		low, _ := hex4(text[6:])
		if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
			n = 12
		}
	}
	if r < utf8.RuneSelf {
		t.add(plainClasses[r])
	} else {
		t.other += utf8.RuneLen(r)
	}
	return n
}

// hex4 reads \uXXXX.
func hex4(text []byte) (r rune, ok bool) {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	for _, b := range text[2:6] {
		switch {
		case '0' <= b && b <= '9':
			b -= '0'
		case 'a' <= b && b <= 'f':
			b -= 'a' - 10
		case 'A' <= b && b <= 'F':
			b -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(b)
	}
	return r, true
}

// number reads a number.
func (c *cursor) number() {
	digits := func() bool {
		from := c.at
		for c.at < len(c.text) && '0' <= c.text[c.at] && c.text[c.at] <= '9' {
			c.at++
		}
		return c.at > from
	}
	next := func(any string) bool {
		for i := range len(any) {
			if c.at < len(c.text) && c.text[c.at] == any[i] {
				c.at++
				return true
			}
		}
		return false
	}
	next("-")
	if !next("0") && !digits() {
		c.fail()
		return
	}
	if next(".") && !digits() {
		c.fail()
		return
	}
	if next("eE") {
		next("+-")
		if !digits() {
			c.fail()
		}
	}
}

func (c *cursor) literal(word string) {
	if len(c.text)-c.at < len(word) || string(c.text[c.at:c.at+len(word)]) != word {
		c.fail()
		return
	}
	c.at += len(word)
}

// decode gives the string that a JSON string spells; "" for what is none.
func decode(quoted []byte) (s string) {
	if len(quoted) == 0 || quoted[0] != '"' || json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}

// most is the largest amount that the service takes; see limiter.proto.
const most = 1_000_000_000_000

// whole reads a whole number that is not negative, however it is written; more than most
// reads as most + 1.
func whole(number []byte) (n int64, ok bool) {
	if len(number) == 0 || number[0] < '0' || number[0] > '9' {
		return 0, false
	}
	if n, err := strconv.ParseInt(string(number), 10, 64); err == nil {
		return min(n, most+1), true
	}
	f, err := strconv.ParseFloat(string(number), 64)
	if math.IsInf(f, 1) {
		return most + 1, true
	}
	if err != nil || f != math.Trunc(f) {
		return 0, false
	}
	return int64(min(f, most+1)), true
}

// quote gives the JSON of a string.
func quote(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil { // no string can't be spelt
		return `""`
	}
	return string(quoted)
}
