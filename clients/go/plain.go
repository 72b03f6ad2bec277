package watermaster

// plain reads the usage of an answer that is one JSON object, while it passes by: whatever
// else is in it is neither kept nor copied, for an answer of embeddings or images may be
// tens of megabytes.
type plain struct {
	usage []byte // the last value of the member of that name
	id    []byte // likewise, in quotes
	state plainState
	depth int

	text    bool // within a string
	escaped bool // behind its backslash
	naming  bool // a string that begins now is a member's name
	isName  bool // the string is a member's name
	name    []byte
	into    *[]byte // where the value goes that is being read; nil: nowhere
}

type plainState uint8

const (
	plainBefore plainState = iota
	plainWithin
	plainWhole // the object has ended
	plainOther // it is no object
)

// structural are the bytes that begin or end strings, arrays and objects.
var structural = [256]bool{'"': true, '{': true, '}': true, '[': true, ']': true}

// What is kept of a usage, an id and a name.
const (
	mostUsageBytes = 64 << 10
	mostNameBytes  = 32
)

// feed takes the next bytes of the answer.
func (p *plain) feed(b []byte) {
	from := 0 // where the value begins in b
	for i := 0; i < len(b) && p.state != plainWhole && p.state != plainOther; i++ {
		if p.text {
			i = p.letters(b, i)
			continue
		}
		if p.depth > 1 { // what matters here is where it ends
			for i < len(b) && !structural[b[i]] {
				i++
			}
			if i == len(b) {
				break
			}
		}
		switch c := b[i]; c {
		case ' ', '\t', '\n', '\r':
		case '"':
			if p.state == plainBefore {
				p.state = plainOther
				break
			}
			p.text = true
			if p.isName = p.naming; p.isName {
				p.naming, p.name = false, p.name[:0]
			}
		case '{', '[':
			if p.state == plainBefore {
				if c == '[' {
					p.state = plainOther
					break
				}
				p.state, p.naming = plainWithin, true
			}
			p.depth++
		case '}', ']':
			if p.depth--; p.depth <= 0 {
				p.keep(b[from:i])
				p.into, p.state = nil, plainWhole
			}
		case ',':
			if p.depth == 1 {
				p.keep(b[from:i])
				p.into, p.naming = nil, true
			}
		case ':':
			if p.depth == 1 && p.into == nil {
				from = i + 1
				p.begin()
			}
		default:
			if p.state == plainBefore {
				p.state = plainOther
			}
		}
	}
	p.keep(b[min(from, len(b)):])
}

// letters steps over a string, to its quote or the last byte.
func (p *plain) letters(b []byte, i int) int {
	from := i
	for ; i < len(b); i++ {
		if p.escaped {
			p.escaped = false
			continue
		}
		if b[i] == '\\' {
			p.escaped = true
		} else if b[i] == '"' {
			p.text = false
			break
		}
	}
	end := min(i, len(b))
	if p.isName && len(p.name) < mostNameBytes {
		p.name = append(p.name, b[from:min(end, from+mostNameBytes)]...)
	}
	return min(i, len(b)-1)
}

// begin starts the value of the member whose name has been read.
func (p *plain) begin() {
	switch string(p.name) {
	case "usage":
		p.into = &p.usage
	case "id":
		p.into = &p.id
	default:
		return
	}
	*p.into = (*p.into)[:0]
}

func (p *plain) keep(b []byte) {
	if p.into != nil && len(*p.into)+len(b) <= mostUsageBytes {
		*p.into = append(*p.into, b...)
	}
}
