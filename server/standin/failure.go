package standin

import (
	"net/http"
)

// A failure is what is answered instead of a reply.
type failure struct {
	status  int
	kind    string // error.type
	code    string // OpenAI's error.code; "": null
	param   string // OpenAI's error.param; "": null
	message string
	id      string
}

func badField(name, message string) *failure {
	return &failure{status: http.StatusBadRequest, kind: "invalid_request_error", param: name, message: message}
}

// failureOf gives the failure of a status, for those that are asked for and for our own.
func failureOf(status int) *failure {
	f := &failure{status: status, kind: "api_error", message: http.StatusText(status)}
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		f.kind, f.message = "invalid_request_error", "The request is invalid."
	case http.StatusUnauthorized:
		f.kind, f.code, f.message = "authentication_error", "invalid_api_key", "Incorrect API key provided."
	case http.StatusPaymentRequired:
		f.kind, f.code, f.message = "billing_error", "credit_balance_exhausted", "Your credit balance is too low."
	case http.StatusForbidden:
		f.kind, f.code, f.message = "permission_error", "permission_denied", "You are not allowed to use this model."
	case http.StatusNotFound:
		f.kind, f.code, f.message = "not_found_error", "model_not_found", "The model does not exist or you do not have access to it."
	case http.StatusRequestEntityTooLarge:
		f.kind, f.message = "request_too_large", "The request is too large."
	case http.StatusTooManyRequests:
		f.kind, f.code = "insufficient_quota", "insufficient_quota"
		f.message = "You exceeded your current quota, please check your plan and billing details."
	case http.StatusInternalServerError, http.StatusBadGateway:
		f.kind, f.message = "server_error", "The server had an error while processing your request. Sorry about that!"
	case http.StatusServiceUnavailable:
		f.kind, f.code, f.message = "service_unavailable_error", "server_is_overloaded", "The server is overloaded. Please try again later."
	case 529:
		f.kind, f.message = "overloaded_error", "Overloaded"
	}
	return f
}

// null is nil for "".
func null(s string) any {
	if s == "" {
		return nil
	}
	return s
}
