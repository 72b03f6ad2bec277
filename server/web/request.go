package web

import (
	"context"
	"errors"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"github.com/grpc-ecosystem/grpc-gateway/v2/utilities"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

const (
	authorization = "authorization"
	apiKey        = "x-api-key"
	// maxCredential bounds what of a header goes to gRPC, in bytes, so that both fit into its 8 KiB.
	maxCredential = 3 << 10
)

// post serves a call that takes its request as a body.
func (s *Server) post(request proto.Message) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.call(w, r, func() (io.Reader, error) {
			if err := checkContent(r.Header); err != nil {
				return nil, err
			}
			if r.URL.RawQuery != "" {
				return nil, invalid("", "%s takes its fields in the body, as JSON, and no query (%q)", r.URL.Path, short("?"+namesOf(r.URL.RawQuery)))
			}
			body, err := readBody(w, r, maxBody)
			if err == nil && strings.TrimSpace(body) == "" {
				err = invalid("", "the body is empty: send a JSON object of %s", request.ProtoReflect().Descriptor().FullName())
			}
			return strings.NewReader(body), err
		})
	}
}

// namesOf leaves the values out of a query: one of them may be a key.
func namesOf(query string) string {
	list := strings.Split(query, "&")
	for i, p := range list {
		if name, _, ok := strings.Cut(p, "="); ok {
			list[i] = name + "=…"
		}
	}
	return strings.Join(list, "&")
}

// get serves a call that takes its request as query parameters.
func (s *Server) get(request proto.Message) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		s.call(w, r, func() (io.Reader, error) {
			body, err := readBody(w, r, maxBody)
			if err == nil && body != "" {
				err = invalid("", "GET %s takes its fields as query parameters, and no body", r.URL.Path)
			}
			if err == nil {
				err = checkQuery(r.URL.RawQuery, request.ProtoReflect().New().Interface())
			}
			return http.NoBody, err
		})
	}
}

// call sends a request through the gateway once it is checked and its body is read.
func (s *Server) call(w http.ResponseWriter, r *http.Request, check func() (io.Reader, error)) {
	defer s.calls.Add(-1)
	if s.calls.Add(1) > maxCalls {
		s.fail(w, errTooMany)
		return
	}
	header, err := s.checkHeader(r)
	if err != nil {
		s.fail(w, err)
		return
	}
	body, err := check()
	if err != nil {
		s.fail(w, err)
		return
	}
	ticket, leave := s.clients.enter(r)
	defer leave()
	e := &exchange{ticket: ticket, answer: w.(*writer)}
	inner := r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e))
	inner.Header = header
	inner.Host, inner.RemoteAddr = "", "" // would become x-forwarded-…
	inner.Body = &requestBody{Reader: body, of: e}
	s.gateway.ServeHTTP(w, inner)
}

// checkHeader gives the headers that go to gRPC.
func (s *Server) checkHeader(r *http.Request) (http.Header, error) {
	if err := s.origins.Check(r); err != nil {
		return nil, &refusal{code: codes.PermissionDenied, message: "pages of other origins may not call this: " + err.Error()}
	}
	to := http.Header{}
	for _, name := range []string{authorization, apiKey} {
		values := r.Header.Values(name)
		if len(values) > 1 {
			return nil, invalid(name, "the header %s is there %d times: send it once", name, len(values))
		}
		for _, v := range values {
			if len(v) > maxCredential {
				refused := invalid(name, "the header %s has more than %d bytes", name, maxCredential)
				refused.http = http.StatusRequestHeaderFieldsTooLarge
				return nil, refused
			}
			if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' }) {
				return nil, invalid(name, "the header %s has other than printable ASCII characters", name)
			}
			to.Set(name, v)
		}
	}
	return to, nil
}

// checkContent refuses a body that is said to be anything but JSON.
func checkContent(h http.Header) error {
	unsupported := func(format string, args ...any) error {
		r := invalid("", format, args...)
		r.http = http.StatusUnsupportedMediaType
		return r
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return unsupported("the body is encoded (%s): send it as it is, without Content-Encoding", short(encoding))
	}
	content := h.Get("Content-Type")
	if content == "" {
		return nil
	}
	kind, params, err := mime.ParseMediaType(content)
	charset, said := params["charset"]
	switch {
	case err != nil || kind != "application/json":
		return unsupported("the body is said to be %s: send JSON with Content-Type: application/json (curl: --json)", short(content))
	case said && !strings.EqualFold(charset, "utf-8"):
		return unsupported("the body is said to be in %s: send UTF-8", short(charset))
	}
	return nil
}

// readBody reads at most so many bytes.
func readBody(w http.ResponseWriter, r *http.Request, most int64) (string, error) {
	b, err := io.ReadAll(http.MaxBytesReader(w.(*writer).Unwrap(), r.Body, most))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		if most != maxBody {
			return "", errTooLargeHere
		}
		return "", errTooLarge
	}
	if err != nil {
		return "", invalid("", "the body did not arrive in whole: %s", short(err.Error()))
	}
	return string(b), nil
}

// checkQuery refuses parameters that are none of a request's, or cannot be read.
func checkQuery(query string, request proto.Message) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return invalid("", "the query cannot be read: %v", err)
	}
	message := request.ProtoReflect().Descriptor()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if message.Fields().ByTextName(name) == nil && message.Fields().ByJSONName(name) == nil {
			return invalid(short(name), "there is no query parameter %q%s", short(name), fieldsOf(message).meant(name))
		}
		for _, v := range values[name] {
			if !utf8.ValidString(v) {
				return invalid(name, "the query parameter %s is not UTF-8", name)
			}
		}
		if err := runtime.PopulateQueryParameters(request, url.Values{name: values[name]}, noFilter); err != nil {
			return invalid(name, "the query parameter %s cannot be read: %s", name, short(err.Error()))
		}
	}
	return nil
}

var noFilter = utilities.NewDoubleArray(nil)
