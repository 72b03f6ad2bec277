package web_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// document reads what is served.
func document(t *testing.T, w *world) *openapi2.T {
	t.Helper()
	var doc openapi2.T
	if err := json.Unmarshal([]byte(w.do("GET", "/openapi.json", "").text), &doc); err != nil {
		t.Fatal(err)
	}
	return &doc
}

// TestOpenAPI: the document is valid, and tells of exactly the calls that are served.
func TestOpenAPI(t *testing.T) {
	w := newWorld(t, nothing)
	doc := document(t, w)
	v3, err := openapi2conv.ToV3(doc)
	if err != nil {
		t.Fatal(err)
	}
	if err := v3.Validate(t.Context()); err != nil {
		t.Error(err)
	}
	var told, served []string
	for path, item := range doc.Paths {
		for method, op := range item.Operations() {
			told = append(told, method+" "+path)
			if op.OperationID == "" || strings.Contains(op.OperationID, "_") || op.Summary+op.Description == "" {
				t.Errorf("%s %s: operation %q, %q", method, path, op.OperationID, op.Summary)
			}
			for _, code := range []string{"400", "401", "403", "404", "429", "503", "default"} {
				if r := op.Responses.Value(code); r == nil || r.Schema == nil || r.Schema.Ref != "#/definitions/Status" {
					t.Errorf("%s %s: %s is no Status", method, path, code)
				}
			}
			if body := method == http.MethodPost; body != (op.Responses.Value("413") != nil && op.Responses.Value("415") != nil) {
				t.Errorf("%s %s: 413 and 415 are for bodies", method, path)
			}
		}
	}
	for list := bufio.NewScanner(strings.NewReader(w.do("GET", "/", "").text)); list.Scan(); {
		if f := strings.Fields(list.Text()); len(f) > 1 && strings.HasPrefix(f[1], "/v1/") {
			served = append(served, f[0]+" "+f[1])
		}
	}
	slices.Sort(told)
	slices.Sort(served)
	if len(served) == 0 || !slices.Equal(told, served) {
		t.Errorf("told %v, served %v", told, served)
	}
	for scheme, header := range map[string]string{"bearer": "Authorization", "api_key": "X-Api-Key"} {
		if s := doc.SecurityDefinitions[scheme]; s == nil || s.Type != "apiKey" || s.In != "header" || s.Name != header {
			t.Errorf("scheme %s: got %v", scheme, s)
		}
	}
}

// TestEveryFieldIsTold: every field of every call is there, under its own name and described.
func TestEveryFieldIsTold(t *testing.T) {
	doc := document(t, newWorld(t, nothing))
	seen := map[protoreflect.FullName]bool{}
	var check func(m protoreflect.MessageDescriptor)
	check = func(m protoreflect.MessageDescriptor) {
		if m.ParentFile().Package() != "watermaster.v1" || m.IsMapEntry() || seen[m.FullName()] {
			return
		}
		seen[m.FullName()] = true
		definition := doc.Definitions[string(m.Name())]
		if definition == nil {
			t.Errorf("%s is not there", m.FullName())
			return
		}
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			if p := definition.Value.Properties[string(f.Name())]; p == nil || p.Ref == "" && p.Value.Description == "" {
				t.Errorf("%s is not there, or not described", f.FullName())
			}
			if f.Message() != nil {
				check(f.Message())
			}
		}
	}
	parameters := func(path string, m protoreflect.MessageDescriptor) {
		told := map[string]bool{}
		for _, p := range doc.Paths[path].Get.Parameters {
			told[p.Name] = p.In == "query" && p.Description != ""
		}
		for i := range m.Fields().Len() {
			if f := m.Fields().Get(i); !told[string(f.Name())] {
				t.Errorf("GET %s has no parameter %s, or does not describe it", path, f.Name())
			}
		}
	}
	for _, file := range []protoreflect.FileDescriptor{pb.File_watermaster_v1_limiter_proto, pb.File_watermaster_v1_monitor_proto} {
		for i := range file.Services().Len() {
			methods := file.Services().Get(i).Methods()
			for j := range methods.Len() {
				check(methods.Get(j).Output())
				switch m := methods.Get(j); m.Name() {
				case "GetHeadroom":
					parameters("/v1/headroom", m.Input())
				case "WatchHeadroom":
					parameters("/v1/headroom/watch", m.Input())
				default:
					check(m.Input())
				}
			}
		}
	}
}
