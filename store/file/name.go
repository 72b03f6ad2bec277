package file

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// Names of files in a log's directory. No organization's directory has a dot in it, except
// those of long names, which end otherwise.
const (
	lockName  = "watermaster.lock"
	stateName = "watermaster.state"
)

// Endings of names.
const (
	logEnding      = ".log"
	snapshotEnding = ".snap"
	newEnding      = ".new"  // is being written; renamed when it is whole
	goneEnding     = ".gone" // a forgotten organization's directory, being removed
)

// longName is how many bytes of a directory's name are the organization's at most; NAME_MAX
// is 255.
const longName = 160

// directoryName gives the name of an organization's directory: of each its own, also where
// the file system takes capitals for small letters. A long one is cut, and tells from
// others by its digest.
func directoryName(organization string) string {
	if organization == "" {
		return "%"
	}
	var b strings.Builder
	for i := range len(organization) {
		switch c := organization[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02x", c)
		}
	}
	name := b.String()
	if len(name) > longName {
		digest := sha256.Sum256([]byte(organization))
		name = name[:longName] + "." + hex.EncodeToString(digest[:])
	}
	return name
}

// isDirectoryName says whether a name may be an organization's directory, and not something
// that others have put there.
func isDirectoryName(name string) bool {
	head, digest, long := strings.Cut(name, ".")
	if long && (len(head) != longName || len(digest) != 2*sha256.Size) {
		return false
	}
	for i := range len(head) {
		switch c := head[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '_', c == '%':
		default:
			return false
		}
	}
	return head != ""
}

// A fileName is the position after which a file's entries come, or at which its state is.
// Major tells the histories of an organization apart; that of a later one is higher.
type fileName struct{ major, minor uint64 }

func (n fileName) format(ending string) string {
	return fmt.Sprintf("%016x-%016x%s", n.major, n.minor, ending)
}

// parseFileName reads what format writes.
func parseFileName(name, ending string) (n fileName, ok bool) {
	if len(name) != 33+len(ending) {
		return n, false
	}
	if _, err := fmt.Sscanf(name[:33], "%016x-%016x", &n.major, &n.minor); err != nil {
		return n, false
	}
	return n, n.format(ending) == name
}
