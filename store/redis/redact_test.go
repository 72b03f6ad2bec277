package redis

import "testing"

func TestRedact(t *testing.T) {
	for _, row := range []struct{ url, want string }{
		{"redis://localhost", "redis://localhost"},
		{"redis://user@localhost:1/2", "redis://user@localhost:1/2"},
		{"rediss://user:secret@localhost:1/2", "rediss://user:***@localhost:1/2"},
		{"redis://:secret@localhost", "redis://:***@localhost"},
		{"redis+sentinel://u:secret@a:1,b:2/main", "redis+sentinel://u:***@a:1,b:2/main"},
		{"redis+cluster://u:se:cr@et/@a,b", "redis+cluster://u:***@a,b"},
		{"u:secret@localhost", "u:***@localhost"},
		{"", ""},
	} {
		if got := Redact(row.url); got != row.want {
			t.Errorf("%s: got %s, want %s", row.url, got, row.want)
		}
	}
}
