package redis

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// An entry is what an entry of the stream holds. Its time is computed from it and all those
// before: see timeline.
type entry struct {
	store.Position // Incarnation 0: the beginning of the log, and Claim.Time its time
	claim          store.Claim
	join           bool
	hold           time.Duration // 0: for ever
	payload        string
}

// Each entry of the stream has one field. Its value:
//
//	format 1 · incarnation 8 · number 8 · flags 1 · claim: time 8, base 8, wall 8 · hold 8 · payload
//
// numbers with the highest byte first. The first 17 bytes say who wrote it, and are compared
// by the script of Install.
const (
	entryField  = "e"
	entryFormat = 1
	headLen     = 1 + 8 + 8
	entryLen    = headLen + 1 + 4*8
	joinFlag    = 1
)

// appendHead writes who wrote an entry.
func appendHead(b []byte, p store.Position) []byte {
	b = append(b, entryFormat)
	b = binary.BigEndian.AppendUint64(b, p.Incarnation)
	return binary.BigEndian.AppendUint64(b, p.Number)
}

func appendEntry(b []byte, e *entry) []byte {
	b = appendHead(b, e.Position)
	flags := byte(0)
	if e.join {
		flags |= joinFlag
	}
	b = append(b, flags)
	b = binary.BigEndian.AppendUint64(b, uint64(e.claim.Time))
	b = binary.BigEndian.AppendUint64(b, e.claim.Base)
	b = binary.BigEndian.AppendUint64(b, uint64(e.claim.Wall))
	b = binary.BigEndian.AppendUint64(b, uint64(e.hold))
	return append(b, e.payload...)
}

// parseEntry reads what Redis answers of one: its id and its fields and values.
func parseEntry(reply any) (e entry, err error) {
	pair, _ := reply.([]any)
	if len(pair) != 2 {
		return e, errors.New("it is no entry of a stream")
	}
	id, _ := pair[0].(string)
	if e.Position, err = parseID(id); err != nil {
		return e, err
	}
	fields, _ := pair[1].([]any)
	if len(fields) != 2 || fields[0] != entryField {
		return e, fmt.Errorf("entry %s has other fields than ours", id)
	}
	value, _ := fields[1].(string)
	if len(value) < entryLen {
		return e, fmt.Errorf("entry %s is too short", id)
	}
	if value[0] != entryFormat {
		return e, fmt.Errorf("entry %s has format %d, and this version knows %d", id, value[0], entryFormat)
	}
	var b [entryLen]byte
	copy(b[:], value)
	number := func(i int) uint64 { return binary.BigEndian.Uint64(b[i:]) }
	e.Incarnation, e.Number = number(1), number(9)
	e.join = b[headLen]&joinFlag != 0
	e.claim = store.Claim{Time: store.Time(number(headLen + 1)), Base: number(headLen + 9), Wall: int64(number(headLen + 17))}
	e.hold = time.Duration(number(headLen + 25))
	e.payload = value[entryLen:]
	return e, nil
}

// id gives the stream's name for a place.
func id(p store.Position) string {
	b := make([]byte, 0, 41) // two numbers of 20 digits
	b = append(strconv.AppendUint(b, p.Major, 10), '-')
	return string(strconv.AppendUint(b, p.Minor, 10))
}

func parseID(id string) (p store.Position, err error) {
	major, minor, _ := strings.Cut(id, "-")
	if p.Major, err = strconv.ParseUint(major, 10, 64); err == nil {
		p.Minor, err = strconv.ParseUint(minor, 10, 64)
	}
	if err != nil {
		return p, fmt.Errorf("%q is no id of an entry", id)
	}
	return p, nil
}
