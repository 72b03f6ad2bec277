package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// Master is the name by which a sentinel knows its master.
const Master = "main"

// StartSentinel starts one sentinel, which alone decides, half a second after the master
// has died, that a replica takes over.
func StartSentinel(t testing.TB, master *Server) *Server {
	t.Helper()
	file := filepath.Join(t.TempDir(), "sentinel.conf") // it writes to it
	text := fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1\nsentinel down-after-milliseconds %[1]s 500\n"+
		"sentinel failover-timeout %[1]s 5000\n", Master, master.Port)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return launch(t, nil, []string{file, "--sentinel"})
}
