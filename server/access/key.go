package access

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"

	"google.golang.org/grpc/metadata"
)

// maxKey is the longest key that is looked at, in bytes.
const maxKey = 512

// What is wrong with a key that is presented.
var (
	errNoKey     = &Unauthenticated{"a key is needed: send `authorization: Bearer KEY` or `x-api-key: KEY`"}
	errWrongKey  = &Unauthenticated{"the key is not known"}
	errWrongName = &Unauthenticated{"no name in the client certificate is known, and there is no key"}
	errMalformed = &Unauthenticated{"the key cannot be read: send `authorization: Bearer KEY` or `x-api-key: KEY`"}
	errLong      = &Unauthenticated{"the key is longer than 512 bytes"}
	errTwoKeys   = &Unauthenticated{"two different keys: send one"}
)

// KeyOf gives the key that a request presents, or "" if it presents none.
func KeyOf(md metadata.MD) (string, error) {
	var key string
	for _, v := range md.Get("x-api-key") {
		if err := take(&key, v); err != nil {
			return "", err
		}
	}
	const scheme = "bearer "
	for _, v := range md.Get("authorization") {
		switch {
		case len(v) > len(scheme)+maxKey:
			return "", errLong
		case len(v) < len(scheme) || !strings.EqualFold(v[:len(scheme)], scheme):
			return "", errMalformed
		}
		if err := take(&key, strings.TrimLeft(v[len(scheme):], " ")); err != nil {
			return "", err
		}
	}
	return key, nil
}

// take adds what is presented to what was before it.
func take(key *string, presented string) error {
	if len(presented) > maxKey {
		return errLong
	}
	if presented == "" {
		return errMalformed
	}
	for _, c := range []byte(presented) {
		if c <= ' ' || c > '~' {
			return errMalformed
		}
	}
	if *key != "" && *key != presented {
		return errTwoKeys
	}
	*key = presented
	return nil
}

// NewKey makes a key of 32 random bytes, and what stands for it under `sha256:`.
func NewKey() (key, sha256hex string) {
	var random [32]byte
	rand.Read(random[:]) // it never fails
	key = "wm_" + base64.RawURLEncoding.EncodeToString(random[:])
	sum := sha256.Sum256([]byte(key))
	return key, hex.EncodeToString(sum[:])
}
