package envoy

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
)

// The replies of an upstream, by the path's last part.
const (
	openAIPlain    = `{"id":"c","choices":[],"usage":{"prompt_tokens":70,"completion_tokens":7,"total_tokens":77}}`
	openAIStream   = "data: {\"choices\":[1],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"total_tokens\":55}}\n\ndata: [DONE]\n\n"
	openAINoUsage  = "data: {\"choices\":[1]}\n\ndata: [DONE]\n\n"
	claudePlain    = `{"type":"message","usage":{"input_tokens":30,"output_tokens":4}}`
	claudeStart    = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":31,\"output_tokens\":1}}}\n\n"
	claudeDelta    = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":%d}}\n\n"
	claudeStop     = "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
	contentJSON    = "application/json"
	contentEvents  = "text/event-stream"
	replyHeader    = "X-Reply" // which reply is wanted
	waitsForClient = "until the client goes"
)

// startUpstream starts what answers as the header X-Reply says. It is no provider: nothing is
// judged.
func startUpstream(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(reply))
	t.Cleanup(s.Close)
	return s
}

func reply(w http.ResponseWriter, q *http.Request) {
	_, _ = io.Copy(io.Discard, q.Body)
	write := func(status int, content, body string) {
		w.Header().Set("Content-Type", content)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
		w.(http.Flusher).Flush()
	}
	switch q.Header.Get(replyHeader) {
	case "openai":
		write(200, contentJSON, openAIPlain)
	case "openai stream":
		write(200, contentEvents, openAIStream)
	case "openai stream without usage":
		write(200, contentEvents, openAINoUsage)
	case "claude":
		write(200, contentJSON, claudePlain)
	case "claude stream":
		write(200, contentEvents, claudeStart+fmt.Sprintf(claudeDelta, 3)+fmt.Sprintf(claudeDelta, 9)+claudeStop)
	case "stream that breaks":
		write(200, contentEvents, claudeStart+fmt.Sprintf(claudeDelta, 3))
		panic(http.ErrAbortHandler)
	case "stream " + waitsForClient:
		write(200, contentEvents, claudeStart)
		<-q.Context().Done()
	case "nothing " + waitsForClient:
		<-q.Context().Done()
	case "no usage":
		write(200, contentJSON, `{"id":"c"}`)
	case "refusal":
		write(429, contentJSON, `{"error":{"message":"slow down"}}`)
	case "page":
		write(503, "text/html", "<p>away")
	case "empty":
		w.WriteHeader(500)
	default:
		http.Error(w, "no such reply", http.StatusTeapot)
	}
}
