package file

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"

	"github.com/watermaster-project/watermaster/store"
)

// A recovery finds where an organization's log ends.
type recovery struct {
	log      *Log
	dir      string
	snapshot snapshot
	segments []uint64 // where each begins, ascending
	end      place    // of the last entry that was found
	size     int64    // of the last segment
}

// run reads all entries since the snapshot, and cuts what was not finished to write.
func (r *recovery) run() error {
	i := len(r.segments) - 1
	missing := i < 0 || r.segments[i] < r.snapshot.Minor // see install
	for i >= 0 && r.segments[i] > r.snapshot.Minor {
		i--
	}
	if missing || i < 0 {
		name := fileName{r.snapshot.Major, r.snapshot.Minor}
		return r.damaged(name, errors.New("the log that follows this snapshot is missing"), snapshotEnding)
	}
	minor, time := r.segments[i], r.snapshot.time
	if minor < r.snapshot.Minor {
		time = math.MinInt64
	}
	for ; i < len(r.segments); i++ {
		name := fileName{r.snapshot.Major, r.segments[i]}
		records, head, err := readSegment(r.dir, name, r.snapshot.organization)
		if err != nil {
			return r.damaged(name, err, logEnding)
		}
		switch begins := r.segments[i]; {
		case begins < minor:
			return r.damaged(name, fmt.Errorf("it begins at entry %d, which is in the one before", begins), logEnding)
		case begins > minor: // the one before ends too early
			return r.cut(i-1, minor+1, nil)
		}
		at := place{time: time}
		at.Major, at.Minor = name.major, minor
		n := eachRecord(records, at, func(x *record) {
			minor, time = x.Minor, x.time
			switch {
			case x.Minor > r.snapshot.Minor:
				r.end = x.after(r.end)
			case x.Minor == r.snapshot.Minor && x.Position != r.snapshot.Position:
				err = errors.New("it is not the log that this snapshot is of")
			}
		})
		if err != nil {
			return r.damaged(name, err, logEnding)
		}
		if r.size = int64(head + n); n < len(records) {
			return r.cut(i, minor+1, records[n:])
		}
	}
	return nil
}

// cut ends the log within a segment, at r.size, where an entry cannot be read; rest is
// what follows there. That is no damage if the entry was being written, or was not yet
// known to be on the disk when the last was written of those that follow.
func (r *recovery) cut(segment int, minor uint64, rest []byte) error {
	name := fileName{r.snapshot.Major, r.segments[segment]}
	later := r.segments[segment+1:]
	synced, entries, bytes := uint64(0), 0, len(rest)
	look := func(b []byte) {
		for {
			x, end := findRecord(b, name.major)
			if end == 0 {
				return
			}
			b = b[end:]
			synced = max(synced, x.synced)
			entries++
		}
	}
	look(rest)
	for _, begins := range later {
		name := fileName{name.major, begins}
		records, _, err := readSegment(r.dir, name, r.snapshot.organization)
		if err != nil {
			return r.damaged(name, err, logEnding)
		}
		look(records)
		bytes += len(records)
	}
	for _, begins := range r.segments {
		if begins >= r.snapshot.Minor { // all before it was synced before the snapshot was written
			synced = max(synced, begins)
			break
		}
	}
	if minor <= synced {
		return r.damaged(name, fmt.Errorf("entry %d at byte %d cannot be read, and was on the disk once", minor, r.size), logEnding)
	}
	for _, begins := range slices.Backward(later) { // so that at any time the rest is as it was
		if err := os.Remove(path(r.dir, fileName{name.major, begins}, logEnding)); err != nil {
			return fmt.Errorf("file: %w", err)
		}
	}
	if err := os.Truncate(path(r.dir, name, logEnding), r.size); err != nil {
		return fmt.Errorf("file: %w", err)
	}
	r.segments = r.segments[:segment+1]
	r.log.logger.Warn("the end of a log was cut: it was not written to its end, or not yet synced",
		"organization", r.snapshot.organization, "file", path(r.dir, name, logEnding),
		"at", r.size, "bytes", bytes, "entries_behind", entries)
	return nil
}

// stream gives what was found. Time goes on from the last entry by the wall clock.
func (r *recovery) stream() *stream {
	s := newStream(r.log, r.snapshot.organization, 0)
	wall, _ := r.log.clock()
	s.status = whole
	s.begin(r.end, r.end.time+store.Time(elapsed(r.end.wall, wall)))
	s.snapshot, s.previous, s.segments, s.size = r.snapshot.place, r.snapshot.Minor, r.segments, r.size
	s.inherited = true
	if r.log.sync != Never {
		s.dirty = true
		r.log.syncer.add(s)
	}
	return s
}

func (r *recovery) damaged(name fileName, err error, ending string) error {
	return unreadable(r.snapshot.organization, r.dir, name.format(ending), err)
}
