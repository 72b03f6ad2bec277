package watermaster

import (
	"errors"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
)

// Each error of asking has its status, the provider's names for it, and says what to do.
func TestErrorsSayWhatToDo(t *testing.T) {
	for _, row := range []struct {
		err              error
		status           int
		openai, claude   string // what the bodies hold
		says, retryAfter string
	}{
		{&CallError{codes.InvalidArgument, "told"}, 400, `"code":"invalid_argument"`, `"invalid_request_error"`, "watermaster: told; mend the request", ""},
		{&CallError{codes.Unauthenticated, "told"}, 401, `"code":"unauthenticated"`, `"authentication_error"`, "watermaster: told; set the client's Token", ""},
		{&CallError{codes.PermissionDenied, "told"}, 403, `"code":"permission_denied"`, `"permission_error"`, "watermaster: told; use a token", ""},
		{&CallError{codes.NotFound, "told"}, 404, `"code":"not_found"`, `"not_found_error"`, "watermaster: told; add it", ""},
		{&CallError{codes.ResourceExhausted, "told"}, 429, `"code":"rate_limit_exceeded"`, `"rate_limit_error"`, "watermaster: told", "1"},
		{&CallError{codes.Internal, "told"}, 500, `"code":"watermaster_error"`, `"api_error"`, "watermaster: told; see the service's log", ""},
		{&Unavailable{Message: "told"}, 503, `"code":"watermaster_unavailable"`, `"api_error"`, "watermaster: told; see that the service runs", ""},
		{errors.New("told"), 500, `"code":"watermaster_error"`, `"api_error"`, "watermaster: told", ""},
	} {
		for w, holds := range map[wire]string{wireChat: row.openai, wireMessages: row.claude} {
			resp := failed(nil, w, "r", row.err)
			body, err := io.ReadAll(resp.Body)
			if err != nil || resp.StatusCode != row.status || !strings.Contains(string(body), holds) || !strings.Contains(string(body), row.says) {
				t.Errorf("%v, %s: got %d %s", row.err, w, resp.StatusCode, body)
			}
			if h := resp.Header; h.Get("X-Should-Retry") != "false" || h.Get("X-Watermaster-Request-Id") != "r" || h.Get("Retry-After") != row.retryAfter {
				t.Errorf("%v: headers %v", row.err, h)
			}
		}
	}
}

// A caller that is refused learns how scarce things are, too.
func TestRefusalsTellThePressure(t *testing.T) {
	calls := uint32(2)
	h := failed(nil, wireChat, "r", &Rejected{
		Reason: WaitTooLong, Pressure: Pressure{Level: PressureSaturated, MaxToolCalls: &calls, AgentProfile: "thrifty"},
	}).Header
	if h.Get("X-Watermaster-Pressure") != "SATURATED" || h.Get("X-Watermaster-Max-Tool-Calls") != "2" || h.Get("X-Watermaster-Agent-Profile") != "thrifty" {
		t.Errorf("headers: %v", h)
	}
	if h = failed(nil, wireChat, "r", &Rejected{Reason: LocalLimit}).Header; h.Get("X-Watermaster-Pressure") != "" {
		t.Errorf("a pressure that nobody told: %v", h)
	}
}
