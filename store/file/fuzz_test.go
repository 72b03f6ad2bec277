package file

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"hash/crc32"
	"testing"

	"github.com/watermaster-project/watermaster/store"
)

// sign puts right checksums into a file, so that what they protect is reached too: that of
// the frame, and those of the records.
func sign(b []byte) []byte {
	b = bytes.Clone(b)
	if len(b) < frameSize {
		return b
	}
	n := binary.LittleEndian.Uint32(b[10:])
	if uint64(n) > uint64(len(b)-frameSize) {
		n = uint32(len(b) - frameSize)
		binary.LittleEndian.PutUint32(b[10:], n)
	}
	end := frameHead + int(n)
	binary.LittleEndian.PutUint32(b[end:], crc32.Checksum(b[:end], castagnoli))
	for b := b[end+4:]; len(b) >= recordSize; {
		n := min(uint64(binary.LittleEndian.Uint32(b)), uint64(len(b)-recordHead))
		binary.LittleEndian.PutUint32(b[4:], recordChecksum(b[:recordHead+n]))
		b = b[recordHead+n:]
	}
	return b
}

func FuzzSegment(f *testing.F) {
	b := segmentHead(7, "acme")
	f.Add(b, false)
	at := store.Position{Major: 7, Incarnation: 3}
	for i := range uint64(3) {
		at.Minor, at.Number = i+1, i+1
		b = appendRecord(b, &record{Position: at, time: store.Time(i), wall: -5, hold: 9, synced: i, join: i == 0, payload: bytes.Repeat([]byte("x"), int(i))})
		f.Add(b, i == 1)
	}
	f.Add(b[:len(b)-1], false)
	f.Fuzz(func(t *testing.T, b []byte, signed bool) {
		if signed {
			b = sign(b)
		}
		major, organization, records, err := decodeSegment(b)
		if err != nil {
			return
		}
		again := segmentHead(major, organization)
		at := place{Position: store.Position{Major: major}}
		if r, n := decodeRecord(records); n > 0 {
			at.Minor, at.time = r.Minor-1, r.time
		}
		n := eachRecord(records, at, func(r *record) { again = appendRecord(again, r) })
		if want := b[:len(b)-len(records)+n]; !bytes.Equal(again, want) {
			t.Errorf("read and written again it became\n%x, want\n%x", again, want)
		}
		for rest := records; ; {
			r, end := findRecord(rest, major)
			if end == 0 {
				break
			}
			if r.Major != major || end > len(rest) {
				t.Fatalf("found %v at %d of %d", r.Position, end, len(rest))
			}
			rest = rest[end:]
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	s := snapshot{organization: "acme", state: []byte("state"), kept: 7}
	s.Position, s.time, s.wall, s.hold, s.joins = store.Position{Major: 7, Minor: 6, Incarnation: 5, Number: 4}, 3, 2, 1, 9
	b := encodeSnapshot(&s)
	f.Add(b, false)
	f.Add(b[:40], true)
	f.Add(encodeSnapshot(&snapshot{}), true)
	f.Fuzz(func(t *testing.T, b []byte, signed bool) {
		if signed {
			b = sign(b)
		}
		s, err := decodeSnapshot(b)
		if err != nil {
			return
		}
		if again := encodeSnapshot(&s); !bytes.Equal(again, b) {
			t.Errorf("read and written again it became\n%x, want\n%x", again, b)
		}
	})
}

// A later release reads what this one writes: files stay as they are.
func TestFormat(t *testing.T) {
	s := snapshot{organization: "acme", state: []byte("state"), kept: 7}
	s.Position, s.time, s.wall, s.hold, s.joins = store.Position{Major: 7, Minor: 6, Incarnation: 5, Number: 4}, 3, 2, 1, 9
	r := record{Position: store.Position{Major: 7, Minor: 6, Incarnation: 5, Number: 4}, time: 3, wall: -2, hold: 1, synced: 5, join: true, payload: []byte("payload")}
	rows := []struct {
		what string
		got  []byte
		want string
	}{
		{"snapshot", encodeSnapshot(&s), "776d20736e61700a0100" + "53000000" + "0700000000000000060000000000000005000000000000000400000000000000" +
			"030000000000000002000000000000000100000000000000" + "0900000000000000" + "0700000000000000" + "040061636d65" + "7374617465" + "5d9c9b4f"},
		{"segment", segmentHead(7, "acme"), "776d206c6f670d0a0100" + "0e000000" + "0700000000000000" + "040061636d65" + "39bdccff"},
		{"record", appendRecord(nil, &r), "48000000" + "ed6cc514" + "0700000000000000060000000000000005000000000000000400000000000000" +
			"0300000000000000feffffffffffffff0100000000000000" + "0500000000000000" + "01" + "7061796c6f6164"},
	}
	for _, row := range rows {
		if got := hex.EncodeToString(row.got); got != row.want {
			t.Errorf("%s: got %s, want %s", row.what, got, row.want)
		}
	}
}
