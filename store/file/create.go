package file

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/watermaster-project/watermaster/store"
)

// create is Log.Create.
func (s *stream) create(from store.Snapshot) error {
	s.expire()
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch err := s.present(); {
	case err == nil:
		return store.ErrExists
	case s.status == dropped:
		return errDropped
	case s.status == failed && len(from.State) == 0:
		// Nothing would take the place of what the files may still know.
		return fmt.Errorf("file: only a state can begin the log anew: %w: %w", store.ErrUnavailable, s.cause)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	s.letGo()
	begun := snapshot{organization: s.organization, state: from.State}
	wall, _ := s.log.clock()
	begun.Major, begun.time, begun.wall = s.log.nextMajor(), max(from.Time, s.now()), wall
	if len(from.State) == 0 {
		begun.kept = s.log.kept()
	}
	head := segmentHead(begun.Major, s.organization)
	if err := s.writeBeginning(&begun, head); err != nil {
		return unavailable("create", err)
	}
	s.status, s.cause = whole, nil
	s.begin(begun.place, begun.time)
	s.snapshot, s.previous, s.segments = begun.place, 0, []uint64{0}
	s.size, s.synced = int64(len(head)), 0
	s.clean()
	return nil
}

// writeBeginning writes the files of a history. It exists once its snapshot does.
func (s *stream) writeBeginning(begun *snapshot, head []byte) error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return err
	}
	name := fileName{begun.Major, 0}
	if err := replace(path(s.dir, name, logEnding), head); err != nil {
		return err
	}
	if err := replace(path(s.dir, name, snapshotEnding), encodeSnapshot(begun)); err != nil {
		return err
	}
	return errors.Join(syncDirectory(s.dir), syncDirectory(s.log.dir))
}

// clean removes the files that are not needed any more. The caller holds disk, and mu or
// nobody else changes segments. What cannot be removed now will be another time.
func (s *stream) clean() {
	names, err := listFiles(s.dir)
	for _, f := range names.snapshots {
		if f.major != s.snapshot.Major || f.minor != s.snapshot.Minor && f.minor != s.previous {
			err = errors.Join(err, os.Remove(path(s.dir, f, snapshotEnding)))
		}
	}
	for _, f := range names.logs {
		if f.major != s.snapshot.Major || !slices.Contains(s.segments, f.minor) {
			err = errors.Join(err, os.Remove(path(s.dir, f, logEnding)))
		}
	}
	if err != nil {
		s.log.logger.Warn("old files could not be removed", "organization", s.organization, "error", err)
	}
}

// expire forgets an organization whose hold has passed.
func (s *stream) expire() {
	if s.mu.Lock(); s.status != whole || !s.last.expired(s.now()) {
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == whole && s.last.expired(s.now()) { // still: it may have been appended to
		s.forget()
	}
}

// forget removes the organization's files, all at once. The caller holds disk and mu.
func (s *stream) forget() {
	gone := s.dir + goneEnding
	err := os.RemoveAll(gone)
	if err == nil {
		err = os.Rename(s.dir, gone)
	}
	if err != nil {
		s.log.logger.Warn("an idle organization could not be forgotten", "organization", s.organization, "error", err)
		return
	}
	s.letGo()
	s.status = absent
	if err := os.RemoveAll(gone); err != nil { // else the next opening does
		s.log.logger.Warn("an idle organization's files could not be removed", "directory", gone, "error", err)
	}
}

// drop takes the stream of an organization that has no log out of memory.
func (s *stream) drop() {
	s.expire()
	s.disk.Lock()
	defer s.disk.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != absent {
		return
	}
	s.letGo()
	s.status = dropped
	l := s.log
	l.mu.Lock()
	delete(l.streams, s.organization)
	l.offset = max(l.offset, s.offset.Load()) // claims never decrease
	l.mu.Unlock()
}

// close ends the stream.
func (s *stream) close() error {
	s.disk.Lock()
	defer s.disk.Unlock()
	var err error
	if s.log.sync != Never {
		err = s.flush()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo()
	s.status = closed
	if err != nil {
		return unavailable("sync organization "+s.organization, err)
	}
	return nil
}
