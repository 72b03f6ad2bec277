package server

import (
	"encoding/base64"
	"encoding/binary"
	"hash/fnv"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/policy"
)

// A lease is what a lease id says to us; to callers it is opaque. It names the
// organization and the target, so that a call's end can be priced and charged without
// asking the engine where it went.
type lease struct {
	organization uint32 // fingerprint
	target       policy.TargetID
	id           limiter.LeaseID
}

const (
	leaseBytes = 4 + 4 + 8 + 8
	leaseText  = leaseBytes / 3 * 4 // no padding: 24 bytes are 32 characters
)

// String gives the id as callers know it.
func (l lease) String() string {
	var b [leaseBytes]byte
	binary.BigEndian.PutUint32(b[0:], l.organization)
	binary.BigEndian.PutUint32(b[4:], uint32(l.target))
	binary.BigEndian.PutUint64(b[8:], l.id.Incarnation)
	binary.BigEndian.PutUint64(b[16:], l.id.Count)
	var text [leaseText]byte
	base64.RawURLEncoding.Encode(text[:], b[:])
	return string(text[:])
}

// parseLease reads an id; false if it is none that we could have given out.
func parseLease(s string) (l lease, ok bool) {
	if len(s) != leaseText {
		return lease{}, false
	}
	var text [leaseText]byte
	copy(text[:], s)
	var b [leaseBytes]byte
	// Line breaks are skipped by Decode, and leave fewer bytes.
	if n, err := base64.RawURLEncoding.Decode(b[:], text[:]); err != nil || n != leaseBytes {
		return lease{}, false
	}
	l.organization = binary.BigEndian.Uint32(b[0:])
	l.target = policy.TargetID(binary.BigEndian.Uint32(b[4:]))
	l.id.Incarnation = binary.BigEndian.Uint64(b[8:])
	l.id.Count = binary.BigEndian.Uint64(b[16:])
	return l, l.id != (limiter.LeaseID{})
}

// fingerprint tells organizations apart in lease ids.
func fingerprint(organization string) uint32 {
	h := fnv.New32a()
	h.Write([]byte(organization))
	return h.Sum32()
}
