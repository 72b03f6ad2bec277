package deploy

import (
	"bytes"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v4"
)

// skipIfShort skips what runs other processes: the race detector sees nothing of them.
func skipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("it runs other processes, which -short leaves out")
	}
}

// flagOf gives the value of a flag, "" if it is not there.
func flagOf(args []string, flag string) string {
	for i, a := range args {
		if a == flag && i+1 < len(args) {
			return args[i+1]
		}
		if value, ok := strings.CutPrefix(a, flag+"="); ok {
			return value
		}
	}
	return ""
}

// holdsGrace compares how long a server takes to end with how long it is given: five seconds
// more at least, in which it writes its state.
func holdsGrace(t *testing.T, args []string, given time.Duration) {
	t.Helper()
	grace := duration(t, flagOf(args, "--grace"))
	if given < grace+5*time.Second {
		t.Errorf("it is killed after %v, and has until %v to end: want 5 s more", given, grace)
	}
}

// waiterSize is what a call that waits takes of a server's memory, in KiB (server/RUNBOOK.md).
const waiterSize = 17

// fits compares Go's limit of memory with what there is, of which a tenth and more is for what Go
// does not count, and with the calls that may wait, which may take two thirds.
func fits(t *testing.T, args []string, goLimit, all string) {
	t.Helper()
	have, err := mebibytes(all)
	if err != nil {
		t.Fatal(err)
	}
	want, err := mebibytes(goLimit)
	if err != nil {
		t.Fatal(err)
	}
	if 10*want > 9*have {
		t.Errorf("GOMEMLIMIT is %s of %s: want nine tenths at most", goLimit, all)
	}
	waiting, err := strconv.Atoi(flagOf(args, "--max-waiting"))
	if err != nil {
		t.Fatalf("--max-waiting: %v: by default those that wait may take more memory than there is", err)
	}
	if 3*waiting*waiterSize > 2*want*1024 {
		t.Errorf("%d calls that wait take %d MiB, of %s: want two thirds at most", waiting, waiting*waiterSize/1024, goLimit)
	}
}

func mebibytes(text string) (int, error) {
	for _, unit := range []string{"MiB", "Mi", "m"} {
		text = strings.TrimSuffix(text, unit)
	}
	return strconv.Atoi(text)
}

// strictly decodes a file of YAML, in which no other key may be.
func strictly(t *testing.T, path string, to any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	d := yaml.NewDecoder(bytes.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// holdsState expects that a server has put its state into a directory.
func holdsState(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Errorf("%s is empty, want the state", dir)
	}
}
