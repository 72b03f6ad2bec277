package file

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/watermaster-project/watermaster/store"
)

// install is Log.Install.
//
// At every step what is on the disk is whole. All up to the snapshot, and the name of the
// file that goes on from there or later, are synced before the snapshot is there; what the
// one before it needs stays.
func (s *stream) install(from store.Snapshot) error {
	s.expire()
	s.disk.Lock()
	defer s.disk.Unlock()
	at, err := s.placeOf(from.Position)
	if err != nil {
		return err
	}
	if err := s.turn(); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return unavailable("sync", err)
	}
	b := encodeSnapshot(&snapshot{place: at, organization: s.organization, state: from.State})
	err = replace(path(s.dir, fileName{at.Major, at.Minor}, snapshotEnding), b)
	if err == nil {
		err = syncDirectory(s.dir)
	}
	if err != nil {
		return unavailable("write a snapshot", err)
	}
	s.mu.Lock()
	s.previous, s.snapshot = s.snapshot.Minor, at
	for len(s.segments) > 1 && s.segments[1] <= s.previous {
		s.segments = s.segments[1:]
	}
	lost := s.status == absent
	s.mu.Unlock()
	if !lost {
		s.clean()
	}
	return nil
}

// turn goes on in another file, unless nothing was appended to the present one. The
// caller holds disk.
func (s *stream) turn() (err error) {
	next := filepath.Join(s.dir, "next"+newEnding)
	head := segmentHead(s.snapshot.Major, s.organization)
	if err := prepare(next, head); err != nil {
		return unavailable("begin a file", err)
	}
	file, err := os.OpenFile(next, os.O_RDWR, 0)
	if err != nil {
		return unavailable("begin a file", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	name := fileName{s.last.Major, s.last.Minor}
	if err = s.present(); err == nil && s.current() != name {
		if err = os.Rename(next, path(s.dir, name, logEnding)); err == nil {
			s.former = append(s.former, s.file)
			s.use(file)
			s.size, s.unnamed = int64(len(head)), true
			s.segments = append(s.segments, name.minor)
			return nil
		}
		err = unavailable("begin a file", err)
	}
	return errors.Join(err, file.Close(), os.Remove(next))
}

// placeOf gives the place of an entry that a snapshot may stand at. The caller holds disk.
func (s *stream) placeOf(p store.Position) (place, error) {
	s.mu.Lock()
	err := s.present()
	at, last, x := s.snapshot, s.last, s.extent()
	s.mu.Unlock()
	switch {
	case err != nil:
		return at, err
	case p == last.Position && p.Minor > at.Minor:
		return last, nil
	case p.Major != last.Major || p.Minor <= at.Minor || p.Minor >= last.Minor:
		return at, store.ErrStale
	}
	err = x.each(at.Minor+1, func(r *record) bool {
		at = r.after(at)
		return at.Minor < p.Minor
	})
	if err == nil && at.Position != p {
		err = store.ErrStale
	}
	return at, err
}

// extent gives what the segments hold. The caller holds mu.
func (s *stream) extent() extent {
	return extent{s.dir, s.organization, s.last.Major, append([]uint64(nil), s.segments...), s.size, s.last.Minor}
}
