package watermaster

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
)

// payload is what a call's body says, as far as it matters for its limits.
type payload struct {
	wire     wire
	body     []byte
	model    string
	models   []span // where the body names it
	begin    int    // where the first member of the body would stand
	empty    bool   // it has none
	output   *int64 // the most tokens produced, over all choices; nil: no bound
	images   int64  // of the images wire
	stream   bool
	previous string // the response that this one goes on from

	// The prompt's tokens before they are corrected by what was seen. What a tokenizer shall
	// count is in texts, and not yet in tokens.
	tokens   int64
	texts    []span
	textOnly bool

	// Where the usage of a stream is asked for: the value of stream_options (or of
	// include_usage in it), or where to insert one.
	askUsage bool
	usageAt  span
	usageAs  string
}

// readPayload reads a request that may be limited. Not ok: it is passed on as it is.
func readPayload(method string, u *url.URL, body []byte, tokenize bool) (r payload, ok bool) {
	r = payload{wire: wireOf(u.Path), body: body, textOnly: true}
	if method != http.MethodPost || r.wire == "" || !r.read(tokenize) {
		return r, false
	}
	if r.model == "" && len(r.models) == 0 {
		r.model, _ = deploymentOf(u.Path)
	}
	return r, r.model != ""
}

// members says what a member of a body's object is for.
type member uint8

const (
	memberOther member = iota
	memberPrompt
	memberSchema
)

// memberOf says what of a request is input.
func (w wire) memberOf(key string) member {
	var prompt, schema []string
	switch w {
	case wireChat:
		prompt, schema = chatPrompt, chatSchema
	case wireCompletions:
		prompt = completionsPrompt
	case wireResponses:
		prompt, schema = responsesPrompt, responsesSchema
	case wireMessages:
		prompt, schema = messagesPrompt, messagesSchema
	case wireEmbeddings:
		prompt = responsesPrompt[:1]
	case wireImages:
		prompt = completionsPrompt[:1]
	}
	switch {
	case slices.Contains(prompt, key):
		return memberPrompt
	case slices.Contains(schema, key):
		return memberSchema
	}
	return memberOther
}

var (
	chatPrompt        = []string{"messages", "prediction"}
	chatSchema        = []string{"tools", "functions", "response_format"}
	completionsPrompt = []string{"prompt", "suffix"}
	responsesPrompt   = []string{"input", "instructions"}
	responsesSchema   = []string{"tools", "text"}
	messagesPrompt    = []string{"messages", "system"}
	messagesSchema    = []string{"tools", "output_config"}
)

// schemaBytes of a schema are one token.
const schemaBytes = 3

// bounds are the numbers of a request that bound its output.
type bounds struct {
	output    int64
	bounded   bool
	n, bestOf int64
}

func (r *payload) read(tokenize bool) bool {
	c := cursor{text: r.body}
	if c.peek() != '{' || !c.open() {
		return false
	}
	b := bounds{n: 1, bestOf: 1}
	r.empty, r.begin = true, c.at
	for first := true; c.more(&first, '}'); {
		key := string(c.key())
		r.empty = false
		c.peek()
		from := c.at
		switch r.wire.memberOf(key) {
		case memberPrompt:
			c.keep = tokenize
			p := c.value(key == "messages" || key == "input")
			c.keep = false
			r.tokens += p.tokens
			r.textOnly = r.textOnly && !p.opaque
		case memberSchema:
			r.tokens += (c.value(false).bytes + schemaBytes - 1) / schemaBytes
		default:
			if key == "stream_options" {
				r.options(&c)
				break
			}
			c.value(false)
			if !c.bad {
				r.scalar(key, span{from, c.at}, &b)
			}
		}
	}
	if c.peek() != 0 || c.at < len(c.text) {
		return false
	}
	r.texts = c.texts
	r.bound(b)
	if r.askUsage = r.stream && r.wire.extras() && r.usageAs != asked; r.askUsage && r.usageAs == "" {
		r.usageAt, r.usageAs = r.insertion(`"stream_options":` + includeUsage)
	}
	return !c.bad
}

// insertion says where to put another member of the body.
func (r *payload) insertion(member string) (at span, as string) {
	if !r.empty {
		member += ","
	}
	return span{r.begin, r.begin}, member
}

func (r *payload) scalar(key string, at span, b *bounds) {
	value := at.of(r.body)
	switch key {
	case "model":
		r.model = decode(value)
		r.models = append(r.models, at)
	case "stream":
		r.stream = string(value) == "true"
	case "previous_response_id":
		r.previous = decode(value)
	case "max_tokens", "max_completion_tokens", "max_output_tokens":
		if n, ok := whole(value); ok {
			b.output, b.bounded = max(b.output, n), true
		}
	case "n":
		b.n, _ = whole(value)
	case "best_of":
		b.bestOf, _ = whole(value)
	}
}

func (r *payload) bound(b bounds) {
	choices := max(b.n, 1)
	if r.wire == wireCompletions {
		choices = max(choices, b.bestOf)
	}
	switch {
	case r.wire == wireEmbeddings:
		r.output = new(int64)
	case r.wire == wireImages:
		r.output = new(int64)
		r.images = min(choices, most)
	case b.bounded:
		n := int64(most)
		if b.output == 0 || choices <= most/b.output {
			n = b.output * choices
		}
		r.output = &n
	}
}

const (
	includeUsage = `{"include_usage":true}`
	asked        = "asked" // usageAs: the caller asks for the usage itself, or what it says is no options
)

// options reads stream_options and finds how to ask for the usage in it.
func (r *payload) options(c *cursor) {
	from := c.at
	if c.peek() != '{' {
		c.value(false)
		r.usageAt, r.usageAs = span{from, c.at}, includeUsage
		if !c.bad && string(c.text[from:c.at]) != "null" {
			r.usageAs = asked
		}
		return
	}
	if !c.open() {
		return
	}
	r.usageAt, r.usageAs = span{c.at, c.at}, `"include_usage":true`
	found, empty := false, true
	for first := true; c.more(&first, '}'); {
		key := c.key()
		is := string(key) == "include_usage"
		empty = false
		c.peek()
		at := c.at
		c.value(false)
		if is && !c.bad {
			found = true
			r.usageAt, r.usageAs = span{at, c.at}, "true"
			if string(c.text[at:c.at]) == "true" {
				r.usageAs = asked
			}
		}
	}
	if !found && !empty {
		r.usageAs += ","
	}
}

// rewritten gives the body with another model ("": as it is), and asking for usage. It is the
// caller's own if nothing changes; all else keeps its bytes.
func (r *payload) rewritten(model string, usage bool) []byte {
	type edit struct {
		at span
		as string
	}
	var edits []edit
	switch {
	case model == "":
	case len(r.models) == 0: // it was named by the path
		at, as := r.insertion(`"model":` + quote(model))
		edits = append(edits, edit{at, as})
	case model != r.model:
		as := quote(model)
		for _, at := range r.models {
			edits = append(edits, edit{at, as})
		}
	}
	if usage && r.askUsage {
		edits = append(edits, edit{r.usageAt, r.usageAs})
	}
	if len(edits) == 0 {
		return r.body
	}
	slices.SortStableFunc(edits, func(a, b edit) int { return a.at.from - b.at.from })
	grows := 0
	for _, e := range edits {
		grows += len(e.as)
	}
	out := make([]byte, 0, len(r.body)+grows)
	at := 0
	for _, e := range edits {
		out = append(append(out, r.body[at:e.at.from]...), e.as...)
		at = e.at.to
	}
	return append(out, r.body[at:]...)
}

// eachText gives the texts of the prompt one by one.
func (r *payload) eachText(count func(string)) {
	for _, at := range r.texts {
		quoted := at.of(r.body)
		inner := quoted[1 : len(quoted)-1]
		if bytes.IndexByte(inner, '\\') < 0 {
			count(string(inner))
			continue
		}
		count(decode(quoted))
	}
}

// guess counts the texts without a tokenizer.
func (r *payload) guess() (tokens int64) {
	for _, at := range r.texts {
		c := cursor{text: r.body, at: at.from}
		t := c.string()
		tokens += t.tokens()
	}
	return tokens
}

// retryCount is how often an official SDK has repeated the request itself.
func retryCount(h http.Header) int {
	n, err := strconv.Atoi(h.Get("X-Stainless-Retry-Count"))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// units are what limits may count besides tokens.
func (r *payload) units() map[string]int64 {
	if r.wire != wireImages {
		return nil
	}
	return map[string]int64{"images": r.images}
}
