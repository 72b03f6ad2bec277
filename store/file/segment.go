package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
)

// A segment is a log file: in the body of its frame the history's Major and the
// organization's name, then records without a gap.

func segmentHead(major uint64, organization string) []byte {
	body := binary.LittleEndian.AppendUint64(nil, major)
	return frame(kindLog, appendName(body, organization))
}

// decodeSegment gives the records of a log file.
func decodeSegment(b []byte) (major uint64, organization string, records []byte, err error) {
	body, records, err := decodeFrame(b, kindLog)
	if err != nil {
		return 0, "", nil, err
	}
	if len(body) < 8 {
		return 0, "", nil, errBody
	}
	organization, rest, ok := cutName(body[8:])
	if !ok || len(rest) > 0 {
		return 0, "", nil, errBody
	}
	return binary.LittleEndian.Uint64(body), organization, records, nil
}

// eachRecord visits the records of b that follow a place, and gives how many bytes they
// take: all of b, or up to the first that is none.
func eachRecord(b []byte, from place, visit func(*record)) (n int) {
	for n < len(b) {
		r, size := decodeRecord(b[n:])
		if size == 0 || r.Major != from.Major || r.Minor != from.Minor+1 || r.time < from.time {
			break
		}
		visit(&r)
		from.Minor, from.time = r.Minor, r.time
		n += size
	}
	return n
}

// readSegment gives the records of a log file of an organization.
func readSegment(dir string, name fileName, organization string) (records []byte, head int, err error) {
	b, err := os.ReadFile(path(dir, name, logEnding))
	if err != nil {
		return nil, 0, err
	}
	major, of, records, err := decodeSegment(b)
	if err != nil {
		return nil, 0, err
	}
	if major != name.major || of != organization {
		return nil, 0, fmt.Errorf("it belongs to history %x of organization %q", major, of)
	}
	return records, len(b) - len(records), nil
}

func path(dir string, name fileName, ending string) string {
	return filepath.Join(dir, name.format(ending))
}

// prepare writes a file and syncs it.
func prepare(path string, b []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			_ = os.Remove(path) // to have the space back; else the next opening does
		}
	}()
	if _, err := f.Write(b); err != nil {
		return err
	}
	return f.Sync()
}

// replace writes a file as a whole or not at all. Afterwards its directory has to be
// synced.
func replace(path string, b []byte) error {
	if err := prepare(path+newEnding, b); err != nil {
		return err
	}
	return os.Rename(path+newEnding, path)
}

// syncDirectory makes the names in a directory last.
func syncDirectory(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// An extent is what an organization's segments held at an instant. It stays as it is while
// none is removed.
type extent struct {
	dir, organization string
	major             uint64
	segments          []uint64
	size              int64  // of the last
	last              uint64 // Minor
}

// each visits the records from a Minor on until visit says false.
func (x extent) each(from uint64, visit func(*record) bool) error {
	i := len(x.segments) - 1
	for i >= 0 && x.segments[i] >= from {
		i--
	}
	if i < 0 {
		return errTrimmed
	}
	at, more := place{}, true
	at.Major, at.Minor, at.time = x.major, x.segments[i], math.MinInt64
	for ; i < len(x.segments) && more; i++ {
		name := fileName{x.major, x.segments[i]}
		records, head, err := readSegment(x.dir, name, x.organization)
		if err == nil && i == len(x.segments)-1 {
			records = records[:min(int64(len(records)), x.size-int64(head))]
		}
		n := eachRecord(records, at, func(r *record) {
			at.Minor, at.time = r.Minor, r.time
			if more && r.Minor >= from {
				more = visit(r)
			}
		})
		if err == nil && n < len(records) {
			err = fmt.Errorf("the entry at byte %d cannot be read", head+n)
		}
		next := x.last
		if i+1 < len(x.segments) {
			next = x.segments[i+1]
		}
		if err == nil && at.Minor != next {
			err = fmt.Errorf("it ends at entry %d and should at %d", at.Minor, next)
		}
		if err != nil {
			return unreadable(x.organization, x.dir, name.format(logEnding), err)
		}
	}
	return nil
}

var errTrimmed = errors.New("entries so old are gone")
