package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// A snapshot is what a snapshot file holds. In the body of its frame:
//
//	major, minor, incarnation, number    uint64
//	time, wall, hold                     int64
//	joins                                uint64
//	kept                                 int64
//	organization                         uint16 length, then the name
//	state                                the rest
type snapshot struct {
	place
	kept         time.Duration
	organization string
	state        []byte
}

// maxState bounds a state; the length in a frame has 32 bits.
const maxState = 1 << 30

// maxName bounds an organization's name; its length has 16 bits.
const maxName = 1<<16 - 1

var errBody = errors.New("its contents are damaged")

func encodeSnapshot(s *snapshot) []byte {
	le := binary.LittleEndian
	head := make([]byte, 0, 80+len(s.organization))
	head = le.AppendUint64(head, s.Major)
	head = le.AppendUint64(head, s.Minor)
	head = le.AppendUint64(head, s.Incarnation)
	head = le.AppendUint64(head, s.Number)
	head = le.AppendUint64(head, uint64(s.time))
	head = le.AppendUint64(head, uint64(s.wall))
	head = le.AppendUint64(head, uint64(s.hold))
	head = le.AppendUint64(head, s.joins)
	head = le.AppendUint64(head, uint64(s.kept))
	head = appendName(head, s.organization)
	return frame(kindSnapshot, head, s.state)
}

// decodeSnapshot reads a snapshot file. The state stays in b.
func decodeSnapshot(b []byte) (s snapshot, err error) {
	body, rest, err := decodeFrame(b, kindSnapshot)
	if err != nil {
		return s, err
	}
	if len(body) < 9*8 || len(rest) != 0 {
		return s, errBody
	}
	le := binary.LittleEndian
	s.Position = store.Position{Major: le.Uint64(body), Minor: le.Uint64(body[8:]), Incarnation: le.Uint64(body[16:]), Number: le.Uint64(body[24:])}
	s.time = store.Time(le.Uint64(body[32:]))
	s.wall = int64(le.Uint64(body[40:]))
	s.hold = time.Duration(le.Uint64(body[48:]))
	s.joins = le.Uint64(body[56:])
	s.kept = time.Duration(le.Uint64(body[64:]))
	var ok bool
	if s.organization, s.state, ok = cutName(body[72:]); !ok || s.hold < 0 || s.kept < 0 {
		return snapshot{}, errBody
	}
	return s, nil
}

func appendName(b []byte, name string) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	return append(b, name...)
}

// cutName reads what appendName writes, and gives what follows it.
func cutName(b []byte) (name string, rest []byte, ok bool) {
	if len(b) < 2 {
		return "", nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if b = b[2:]; n > len(b) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}

// readSnapshot reads the snapshot of that name in an organization's directory.
func readSnapshot(dir string, name fileName) (snapshot, error) {
	b, err := os.ReadFile(path(dir, name, snapshotEnding))
	if err != nil {
		return snapshot{}, err
	}
	s, err := decodeSnapshot(b)
	if err != nil {
		return snapshot{}, err
	}
	if got := (fileName{s.Major, s.Minor}); got != name {
		return snapshot{}, fmt.Errorf("it is the snapshot %s", got.format(snapshotEnding))
	}
	return s, nil
}
