package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash/maphash"

	"github.com/watermaster-project/watermaster/server/config"
)

// A List finds credentials. It does not change, and may be used by many at once.
type List struct {
	seed         maphash.Seed // new for each list, so that nobody can aim at a place
	keys         map[uint64][]entry
	certificates map[string]*Credential
}

type entry struct {
	digest config.Digest
	of     *Credential
}

// Compile makes a list of the credentials of a configuration.
func Compile(credentials []config.Credential) *List {
	l := &List{seed: maphash.MakeSeed(), keys: make(map[uint64][]entry), certificates: make(map[string]*Credential)}
	for i := range credentials {
		c := newCredential(&credentials[i])
		for _, digest := range credentials[i].SHA256 {
			place := maphash.Bytes(l.seed, digest[:])
			l.keys[place] = append(l.keys[place], entry{digest, c})
		}
		for _, name := range credentials[i].Certificates {
			l.certificates[name] = c
		}
	}
	return l
}

// Empty says whether there are no credentials at all.
func (l *List) Empty() bool { return len(l.keys) == 0 && len(l.certificates) == 0 }

// Find gives the credential of a key. The time that it takes depends on the key's length
// alone, but for whether it is found.
func (l *List) Find(presented string) (*Credential, bool) {
	var buffer [maxKey]byte
	if len(presented) > len(buffer) {
		return nil, false
	}
	digest := sha256.Sum256(buffer[:copy(buffer[:], presented)])
	for _, k := range l.keys[maphash.Bytes(l.seed, digest[:])] {
		if subtle.ConstantTimeCompare(k.digest[:], digest[:]) == 1 {
			return k.of, true
		}
	}
	return nil, false
}

// FindCertificate gives the credential of the first name that has one. The names must be
// those of a certificate that was verified: see [NamesOf].
func (l *List) FindCertificate(names []string) (*Credential, bool) {
	for _, name := range names {
		if c := l.certificates[name]; c != nil {
			return c, true
		}
	}
	return nil, false
}
