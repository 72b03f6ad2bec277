package file

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// A place is where a log stands at an entry.
type place struct {
	store.Position
	time  store.Time
	wall  int64         // the wall clock when it was that time; Unix ns
	hold  time.Duration // of the entry; 0: never forgotten
	joins uint64        // in the log so far
}

// expired says whether an organization whose log ends here may be forgotten.
func (p *place) expired(now store.Time) bool {
	t := p.time + store.Time(p.hold)
	return p.hold > 0 && t > p.time && now > t
}

// A record is an entry as a log file has it:
//
//	length       uint32, of what follows the checksum
//	checksum     uint32, of all but itself
//	major, minor, incarnation, number    uint64
//	time, wall, hold                     int64
//	synced       uint64
//	flags        uint8, 1: join
//	payload
type record struct {
	store.Position
	time   store.Time
	wall   int64
	hold   time.Duration
	synced uint64 // entries up to this Minor were known to be on the disk
	join   bool

	payload []byte
}

const (
	recordHead  = 8
	recordFixed = 4*8 + 3*8 + 8 + 1
	recordSize  = recordHead + recordFixed // without the payload
	majorAt     = recordHead               // where Major is

	// maxPayload bounds an entry: a batch of 250 calls of the largest size that the server
	// takes, 64 KiB. What is longer is no entry but damage.
	maxPayload = 16 << 20

	flagJoin = 1
)

func appendRecord(b []byte, r *record) []byte {
	start := len(b)
	le := binary.LittleEndian
	b = le.AppendUint32(b, uint32(recordFixed+len(r.payload)))
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint64(b, r.Major)
	b = le.AppendUint64(b, r.Minor)
	b = le.AppendUint64(b, r.Incarnation)
	b = le.AppendUint64(b, r.Number)
	b = le.AppendUint64(b, uint64(r.time))
	b = le.AppendUint64(b, uint64(r.wall))
	b = le.AppendUint64(b, uint64(r.hold))
	b = le.AppendUint64(b, r.synced)
	flags := byte(0)
	if r.join {
		flags = flagJoin
	}
	b = append(b, flags)
	b = append(b, r.payload...)
	le.PutUint32(b[start+4:], recordChecksum(b[start:]))
	return b
}

// recordChecksum is that of a whole record.
func recordChecksum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[:4], castagnoli), castagnoli, b[recordHead:])
}

// decodeRecord reads the record at the beginning of b, whose payload stays in b, and gives
// its size; 0 if there is none.
func decodeRecord(b []byte) (r record, size int) {
	if len(b) < recordSize {
		return record{}, 0
	}
	le := binary.LittleEndian
	n := le.Uint32(b)
	if n < recordFixed || n > recordFixed+maxPayload || int64(n) > int64(len(b)-recordHead) {
		return record{}, 0
	}
	b = b[: recordHead+int(n) : recordHead+int(n)]
	if recordChecksum(b) != le.Uint32(b[4:]) {
		return record{}, 0
	}
	r = record{
		Position: store.Position{Major: le.Uint64(b[8:]), Minor: le.Uint64(b[16:]), Incarnation: le.Uint64(b[24:]), Number: le.Uint64(b[32:])},
		time:     store.Time(le.Uint64(b[40:])),
		wall:     int64(le.Uint64(b[48:])),
		hold:     time.Duration(le.Uint64(b[56:])),
		synced:   le.Uint64(b[64:]),
		join:     b[72] == flagJoin,
		payload:  b[recordSize:],
	}
	if b[72] > flagJoin || r.hold < 0 {
		return record{}, 0
	}
	return r, len(b)
}

// findRecord gives the first record of a history that is anywhere in b, and where it ends;
// 0 if there is none. Majors are not to be guessed, so no payload looks like one.
func findRecord(b []byte, major uint64) (r record, end int) {
	pattern := binary.LittleEndian.AppendUint64(nil, major)
	for at := 0; at+recordSize <= len(b); at++ {
		i := bytes.Index(b[at+majorAt:], pattern)
		if i < 0 {
			break
		}
		at += i
		if r, n := decodeRecord(b[at:]); n > 0 {
			return r, at + n
		}
	}
	return record{}, 0
}

// entry is what readers get of a record.
func (r *record) entry() store.Entry {
	return store.Entry{Position: r.Position, Time: r.time, Join: r.join, Payload: r.payload}
}

// after gives the place of a record that follows a place.
func (r *record) after(p place) place {
	joins := p.joins
	if r.join {
		joins++
	}
	return place{Position: r.Position, time: r.time, wall: r.wall, hold: r.hold, joins: joins}
}
