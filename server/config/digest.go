package config

import (
	"crypto/sha256"
	"fmt"
)

// redacted stands where a secret was.
const redacted = "REDACTED"

// A Digest is the SHA-256 of a key. Printed or encoded it does not show: who has it can
// try keys at leisure.
type Digest [sha256.Size]byte

// Format writes REDACTED, whatever the verb.
func (Digest) Format(f fmt.State, _ rune) { fmt.Fprint(f, redacted) }

// MarshalText gives REDACTED.
func (Digest) MarshalText() ([]byte, error) { return []byte(redacted), nil }
