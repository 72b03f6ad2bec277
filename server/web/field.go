package web

import (
	"fmt"
	"maps"
	"slices"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/watermaster-project/watermaster/server/spelling"
)

// fields are those of a request and of the messages in it: their paths by their names, in
// both spellings. Of two with the same name it is the one less deep.
type fields map[string]string

func fieldsOf(message protoreflect.MessageDescriptor) fields {
	type level struct {
		message protoreflect.MessageDescriptor
		prefix  string
	}
	all := fields{}
	for next := []level{{message, ""}}; len(next) > 0; next = next[1:] {
		list := next[0].message.Fields()
		for i := range list.Len() {
			f := list.Get(i)
			path := next[0].prefix + string(f.Name())
			for _, name := range []string{string(f.Name()), f.JSONName()} {
				if _, ok := all[name]; !ok {
					all[name] = path
				}
			}
			if m := f.Message(); m != nil && !f.IsMap() && m.ParentFile().Package() == message.ParentFile().Package() {
				next = append(next, level{m, path + "."})
			}
		}
	}
	return all
}

// meant ends a message on a name that is none where it stands.
func (f fields) meant(name string) string {
	path := f[name] // it belongs elsewhere
	if path == "" {
		path = f[spelling.Nearest(name, slices.Sorted(maps.Keys(f)))]
	}
	if path == "" {
		return ""
	}
	return fmt.Sprintf(": did you mean %q?", path)
}
