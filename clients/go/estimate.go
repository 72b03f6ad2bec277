package watermaster

// Tokens of what is no text. An image is the largest that OpenAI and Anthropic make of
// one at usual sizes; a file or a sound is a page's worth, or an eighth of its bytes.
const (
	tokensOfMessage = 4
	tokensOfImage   = 1600
	tokensOfFile    = 1500
	fileBytes       = 8
)

// tokens estimates how many tokens a text has: a quarter of its letters, half of them if it
// is full of digits and punctuation or has hardly a space (base64), a third of the bytes
// of other scripts. It is within a few tens of percent of o200k, mostly above.
func (t letters) tokens() int64 {
	per := 4
	if t.symbols*4 >= t.ascii || t.ascii >= 64 && t.white*32 < t.ascii {
		per = 2
	}
	return int64(ceil(t.ascii, per) + ceil(t.other, 3))
}

func ceil(n, d int) int { return (n + d - 1) / d }

// medium is what an object of a prompt holds, by its type.
type medium uint8

const (
	mediumText     medium = iota
	mediumImage           // never entered
	mediumFile            // never entered
	mediumDocument        // entered if its source is text
	mediumInline          // the type of such a source
)

func mediumOf(kind []byte) medium {
	switch string(kind) {
	case "image_url", "input_image", "image":
		return mediumImage
	case "input_audio", "file", "input_file":
		return mediumFile
	case "document":
		return mediumDocument
	case "text", "content":
		return mediumInline
	}
	return mediumText
}

// unread says whether a member of a prompt's objects is none of its text.
func unread(key []byte) bool {
	switch string(key) {
	case "id", "type", "role", "status", "tool_call_id", "call_id", "tool_use_id", "cache_control", "signature", "encrypted_content":
		return true
	}
	return false
}

// part is what a value of a request adds to its input.
type part struct {
	tokens  int64  // as a part of the prompt
	bytes   int64  // as a part of a schema: its strings, keys and numbers
	longest int    // bytes of the longest string in it
	opaque  bool   // something in it is no text
	medium  medium // of an object
}

// value reads a value. If list, it is the list of messages: each object in it costs what the
// provider puts around a message.
func (c *cursor) value(list bool) (p part) {
	switch c.peek() {
	case '"':
		from := c.at
		t := c.string()
		if c.keep {
			c.texts = append(c.texts, span{from, c.at})
		} else {
			p.tokens = t.tokens()
		}
		p.bytes, p.longest = int64(t.size()), t.size()
	case '{':
		p = c.object()
	case '[':
		if !c.open() {
			return p
		}
		for first := true; c.more(&first, ']'); {
			message := list && c.peek() == '{'
			e := c.value(false)
			if message {
				e.tokens += tokensOfMessage
			}
			p.add(e)
		}
	case 't':
		c.literal("true")
	case 'f':
		c.literal("false")
	case 'n':
		c.literal("null")
	default:
		c.number()
		p.tokens, p.bytes = 1, 4
	}
	return p
}

func (p *part) add(e part) {
	p.tokens += e.tokens
	p.opaque = p.opaque || e.opaque
	p.see(e)
}

// see takes from e what counts even if its text does not.
func (p *part) see(e part) {
	p.bytes += e.bytes
	p.longest = max(p.longest, e.longest)
}

func (c *cursor) object() (p part) {
	if !c.open() {
		return p
	}
	begin := len(c.texts)
	var source medium
	for first := true; c.more(&first, '}'); {
		key := c.key()
		isType, isSource, skip := string(key) == "type", string(key) == "source", unread(key)
		p.bytes += int64(len(key)) + 4
		c.peek()
		from, mark := c.at, len(c.texts)
		e := c.value(false)
		if isType {
			p.medium = c.typeAt(from)
		}
		if isSource {
			source = e.medium
		}
		if skip {
			c.texts = c.texts[:mark]
			p.see(e)
		} else {
			p.add(e)
		}
	}
	switch {
	case p.medium == mediumImage:
		p.tokens, p.opaque = tokensOfImage, true
	case p.medium == mediumFile, p.medium == mediumDocument && source != mediumInline:
		p.tokens, p.opaque = max(tokensOfFile, int64(ceil(p.longest, fileBytes))), true
	default:
		return p
	}
	c.texts = c.texts[:begin]
	return p
}

// typeAt gives what the string means that has just been read as an object's type.
func (c *cursor) typeAt(from int) medium {
	if c.bad || c.text[from] != '"' {
		return mediumText
	}
	return mediumOf(c.text[from+1 : c.at-1])
}
