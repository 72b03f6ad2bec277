package watermaster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
)

// errorBody is an error as providers word it: OpenAI's and those who speak as it does, and
// Anthropic's.
type errorBody struct {
	message       string
	kind, code    string // OpenAI's
	anthropicKind string
}

func (e errorBody) json(w wire) []byte {
	type openai struct {
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Param   *string `json:"param"`
		Code    string  `json:"code"`
	}
	type anthropic struct {
		Type    string `json:"type"`
		Message string `json:"message"`
	}
	var body any = struct {
		Error openai `json:"error"`
	}{openai{e.message, e.kind, nil, e.code}}
	if w == wireMessages {
		body = struct {
			Type  string    `json:"type"`
			Error anthropic `json:"error"`
		}{"error", anthropic{e.anthropicKind, e.message}}
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	if out.Encode(body) != nil { // nothing in it can fail
		return nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// answer makes an answer that no provider gave. SDKs read it as the provider's own, and do not
// repeat the call: the service has said all that there is to say.
func answer(req *http.Request, w wire, status int, requestID string, e errorBody) *http.Response {
	body := e.json(w)
	h := http.Header{
		"Content-Type":   {"application/json"},
		"Content-Length": {strconv.Itoa(len(body))},
		"X-Should-Retry": {"false"},
	}
	if requestID != "" {
		h.Set(headerRequestID, requestID)
	}
	return &http.Response{
		Status: strconv.Itoa(status) + " " + http.StatusText(status), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: io.NopCloser(bytes.NewReader(body)), ContentLength: int64(len(body)), Request: req,
	}
}

// refuse answers for a service that said no.
func refuse(req *http.Request, w wire, requestID string, r *Rejected) *http.Response {
	message := "watermaster: " + first(r.Message, string(r.Reason))
	kind := "requests"
	var bindings []string
	for i := range r.Binding {
		b := &r.Binding[i]
		window := ""
		if b.Window > 0 {
			window = seconds(b.Window) + "s"
		}
		if i == 0 {
			if strings.Contains(b.Metric, "token") {
				kind = "tokens"
			}
			per := ""
			if window != "" {
				per = " per " + window
			}
			message += " (" + b.Scope + ": " + b.Metric + " " + strconv.FormatInt(b.Quota, 10) + per + ", " +
				strconv.FormatFloat(math.Round(b.Utilization*100), 'f', -1, 64) + " % used)"
		}
		of := b.Scope + " " + b.Metric + " " + strconv.FormatInt(b.Quota, 10)
		if window != "" {
			of += "/" + window
		}
		bindings = append(bindings, of+" "+decimal(b.Utilization))
	}
	resp := answer(req, w, http.StatusTooManyRequests, requestID, errorBody{message, kind, "rate_limit_exceeded", "rate_limit_error"})
	resp.Header.Set(headerReason, string(r.Reason))
	r.Pressure.tell(resp.Header)
	if r.RetryAfter != nil {
		resp.Header.Set("Retry-After", strconv.FormatInt(int64((max(*r.RetryAfter, 0)+time.Second-1)/time.Second), 10))
	}
	if len(bindings) > 0 {
		resp.Header.Set(headerBinding, headerSafe(strings.Join(bindings, ", ")))
	}
	return resp
}

// failed answers for an error of asking: a refusal, a wrong request, or a service that is away.
func failed(req *http.Request, w wire, requestID string, err error) *http.Response {
	var rejected *Rejected
	var unavailable *Unavailable
	var wrong *CallError
	switch {
	case errors.As(err, &rejected):
		return refuse(req, w, requestID, rejected)
	case errors.As(err, &unavailable):
		return answer(req, w, http.StatusServiceUnavailable, requestID,
			errorBody{unavailable.Error() + "; see that the service runs at the client's address, or set WhenAway", "server_error", "watermaster_unavailable", "api_error"})
	case errors.As(err, &wrong) && wrong.Code == codes.ResourceExhausted:
		return refuse(req, w, requestID, &Rejected{
			Reason: "SERVICE_BUSY", Message: wrong.Message, RetryAfter: new(time.Second),
		})
	case errors.As(err, &wrong):
		status, e := wrongs(wrong.Code)
		e.message = "watermaster: " + wrong.Message + "; " + e.message
		return answer(req, w, status, requestID, e)
	}
	return answer(req, w, http.StatusInternalServerError, requestID, errorBody{
		"watermaster: " + strings.TrimPrefix(err.Error(), "watermaster: "), "server_error", "watermaster_error", "api_error",
	})
}

// wrongs gives the status of an error of gRPC, what providers call it, and what to do about it.
func wrongs(code codes.Code) (status int, e errorBody) {
	switch code {
	case codes.InvalidArgument:
		return http.StatusBadRequest, errorBody{"mend the request or the client's options", "invalid_request_error", "invalid_argument", "invalid_request_error"}
	case codes.Unauthenticated:
		return http.StatusUnauthorized, errorBody{"set the client's Token", "invalid_request_error", "unauthenticated", "authentication_error"}
	case codes.PermissionDenied:
		return http.StatusForbidden, errorBody{"use a token that is for this organization and project", "invalid_request_error", "permission_denied", "permission_error"}
	case codes.NotFound:
		return http.StatusNotFound, errorBody{"add it to the service's configuration, or ask for what is there", "invalid_request_error", "not_found", "not_found_error"}
	}
	return http.StatusInternalServerError, errorBody{"see the service's log", "server_error", "watermaster_error", "api_error"}
}

// seconds writes a duration as a number of seconds, to the millisecond.
func seconds(d time.Duration) string { return decimal(d.Seconds()) }

// decimal writes a number to the thousandth, without zeros at its end.
func decimal(x float64) string {
	return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64)
}

// headerSafe makes a header's value of any text.
func headerSafe(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
