package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// maxDepth bounds how deep a body is nested. As messages, which nest thrice as deep, they
// stay far below what gRPC reads.
const maxDepth = 100

var jsonCodec = &codec{runtime.JSONPb{
	MarshalOptions:   protojson.MarshalOptions{UseProtoNames: true, EmitDefaultValues: true},
	UnmarshalOptions: protojson.UnmarshalOptions{RecursionLimit: maxDepth},
}}

// A codec is between messages and JSON.
type codec struct{ runtime.JSONPb }

// Marshal writes a message as one line. protojson puts in spaces at its whim.
func (c *codec) Marshal(v any) ([]byte, error) {
	b, err := c.JSONPb.Marshal(v)
	if err != nil {
		return nil, err
	}
	var line bytes.Buffer
	if err := json.Compact(&line, b); err != nil {
		return nil, err
	}
	if _, whole := v.(proto.Message); whole { // else it is one of a stream, which ends lines itself
		line.WriteByte('\n')
	}
	return line.Bytes(), nil
}

// StreamContentType implements runtime.StreamContentType.
func (*codec) StreamContentType(any) string { return "application/x-ndjson" }

// A requestBody is what the gateway reads.
type requestBody struct {
	io.Reader
	of *exchange
}

// Close implements io.Closer. The body that came by the connection is read already.
func (*requestBody) Close() error { return nil }

// NewDecoder implements runtime.Marshaler. The gateway keeps no more of an error than its text,
// so what is wrong is put by for whoever answers.
func (c *codec) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		err := c.decode(r, v)
		if body, ok := r.(*requestBody); ok {
			body.of.broken = err
		}
		return err
	})
}

func (c *codec) decode(r io.Reader, v any) error {
	m, ok := v.(proto.Message)
	if !ok {
		return fmt.Errorf("%T is no message", v)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := c.UnmarshalOptions.Unmarshal(b, m); err != nil {
		return unreadable(err, m)
	}
	if proto.Size(m) > maxBody {
		return errTooLarge
	}
	return nil
}

// What protojson says. Its texts are no contract: one that is not known is told as it is.
var (
	placed       = regexp.MustCompile(`(?s)^(?:syntax error )?\(line (\d+):(\d+)\): (.*)$`)
	unknownField = regexp.MustCompile(`^unknown field "([^"]*)"`)
	wrongValue   = regexp.MustCompile(`^invalid value for \w+ field (\w+): `)
	wrongTime    = regexp.MustCompile(`^invalid google\.protobuf\.Duration value`)
	repeated     = regexp.MustCompile(`(?s)^(invalid value for \w+ field \w+: |invalid google\.protobuf\.\w+ value |duplicate map key |unexpected token |invalid value )(.*)$`)
	harmless     = regexp.MustCompile(`^(?:[][{}:,]|"[A-Z]+_[A-Z_]+")$`) // punctuation, and what was meant as a value of an enum
	twice        = regexp.MustCompile(`^duplicate field "([^"]*)"|^error parsing "([^"]*)", oneof .* is already set`)
)

// unreadable says where a body is wrong, and what was probably meant.
func unreadable(err error, m proto.Message) error {
	text := strings.ReplaceAll(err.Error(), "\u00a0", " ")
	text = strings.TrimPrefix(text, "proto: ")
	where := ""
	if p := placed.FindStringSubmatch(text); p != nil {
		where, text = fmt.Sprintf("line %s, column %s: ", p[1], p[2]), p[3]
	}
	// What is in the body may be a key or a prompt in the wrong place, and errors are logged by
	// whoever gets them.
	if r := repeated.FindStringSubmatch(text); len(r) > 0 && !harmless.MatchString(r[2]) {
		text = r[1] + "…"
	}
	text = short(text)
	fields := fieldsOf(m.ProtoReflect().Descriptor())
	field := ""
	if text == "unexpected EOF" {
		text = "the JSON ends too early: a bracket or a quote is missing"
	} else if f := unknownField.FindStringSubmatch(text); f != nil {
		field = f[1]
		text += fields.meant(field)
	} else if f := wrongValue.FindStringSubmatch(text); f != nil {
		if field = fields[f[1]]; field == "" {
			field = f[1]
		}
	} else if wrongTime.MatchString(text) {
		text += `: a duration is seconds, as in "0.7s"`
	} else if f := twice.FindStringSubmatch(text); f != nil {
		field = f[1] + f[2]
	}
	return invalid(short(field), "the body is no %s: %s%s", m.ProtoReflect().Descriptor().Name(), where, text)
}
