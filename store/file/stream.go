package file

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/watermaster-project/watermaster/store"
)

// A stream is the log of one organization.
//
// Places are counted: Major tells histories apart, Minor numbers the entries of one.
type stream struct {
	log          *Log
	organization string
	dir          string

	// disk is held while files are synced, made or removed; before mu. Append does not
	// take it.
	disk sync.Mutex

	mu       sync.Mutex
	status   status
	cause    error    // why it failed
	last     place    // of the latest entry, or the beginning
	snapshot place    // of what Load returns
	previous uint64   // Minor of the snapshot before; what is older is gone
	segments []uint64 // the Minor at which each begins, ascending; the last is written to
	file     *os.File // the last of them; nil: not opened yet
	fd       uintptr
	size     int64 // what is valid of it
	torn     bool  // there may be a part of an entry behind size
	buffer   []byte

	// What is on the disk.
	synced    uint64     // entries up to this Minor are
	dirty     bool       // there is more, and the syncer knows
	inherited bool       // a former process wrote segments, and nobody knows
	unnamed   bool       // the last segment's name is not
	former    []*os.File // segments that were written to before, and are not

	// For Now, which takes no lock.
	offset atomic.Int64  // log time − monotonic
	joins  atomic.Uint64 // in the log
	base   atomic.Uint64 // joins, at this process's first; notJoined: it has not
}

const notJoined = math.MaxUint64

// A status says what can be done with a stream.
type status uint8

const (
	absent  status = iota // there is no log, or it was lost: Create
	whole                 // everything
	failed                // a sync failed: Create with a state
	closed                // nothing
	dropped               // nothing: another stream is to be made
)

var errDropped = errors.New("file: organization forgotten")

func newStream(l *Log, organization string, offset int64) *stream {
	s := &stream{log: l, organization: organization, dir: filepath.Join(l.dir, directoryName(organization))}
	s.offset.Store(offset)
	s.base.Store(notJoined)
	return s
}

// now gives the time that the log would have now.
func (s *stream) now() store.Time {
	_, monotonic := s.log.clock()
	return store.Time(monotonic + s.offset.Load())
}

// begin makes the stream stand at a place, with the log's time as it is now.
func (s *stream) begin(at place, now store.Time) {
	_, monotonic := s.log.clock()
	s.offset.Store(int64(now) - monotonic)
	s.base.Store(notJoined)
	s.joins.Store(at.joins)
	s.last = at
}

// usable says why the stream is not whole. The caller holds mu.
func (s *stream) usable() error {
	switch s.status {
	case whole:
		return nil
	case closed:
		return store.ErrClosed
	case failed:
		return fmt.Errorf("file: %w: what was appended may not be on the disk: %w", store.ErrBroken, s.cause)
	}
	return store.ErrBroken
}

// fail gives the log up, because what it holds may not be what was appended. The caller
// holds mu.
func (s *stream) fail(cause error) {
	if s.status != whole {
		return
	}
	s.status, s.cause = failed, cause
	s.log.logger.Error("the log cannot be trusted any more, and has to begin anew with the state that is in memory",
		"organization", s.organization, "directory", s.dir, "error", cause)
}

// lose notes that files of the log are gone. The caller holds mu.
func (s *stream) lose() {
	s.status = absent
	s.log.logger.Error("the log was lost: its files are gone", "organization", s.organization, "directory", s.dir)
	if err := s.log.noteLoss(); err != nil {
		s.log.logger.Error("that something was lost could not be noted", "error", err)
	}
}

// ready opens the last segment if need be, and sees to it that it is as it was left: it
// is still there, and ends where it should. The caller holds mu, and the stream is whole.
func (s *stream) ready() error {
	if s.file == nil {
		f, err := os.OpenFile(s.currentPath(), os.O_RDWR, 0)
		if errors.Is(err, fs.ErrNotExist) {
			s.lose()
			return store.ErrBroken
		}
		if err != nil {
			return unavailable("open", err)
		}
		s.use(f)
	}
	size, named, err := look(s.fd)
	switch {
	case err != nil:
		return unavailable("look at "+s.currentPath(), err)
	case !named:
		s.lose()
		return store.ErrBroken
	case size == s.size:
		s.torn = false
		return nil
	case !s.torn:
		s.fail(fmt.Errorf("%s has %d bytes and should have %d: somebody else writes to it", s.currentPath(), size, s.size))
		return s.usable()
	}
	if err := s.file.Truncate(s.size); err != nil {
		return unavailable("undo a write", err)
	}
	s.torn = false
	return nil
}

// present is usable and ready for those who do not append: what is lost is ErrNotFound.
func (s *stream) present() error {
	err := s.usable()
	if err == nil {
		err = s.ready()
	}
	if s.status == failed {
		return fmt.Errorf("file: %w: it has to begin anew: %w", store.ErrNotFound, s.cause)
	}
	if errors.Is(err, store.ErrBroken) {
		return store.ErrNotFound
	}
	return err
}

// current names the last segment.
func (s *stream) current() fileName {
	return fileName{s.last.Major, s.segments[len(s.segments)-1]}
}

func (s *stream) currentPath() string { return path(s.dir, s.current(), logEnding) }

// use makes an open file the last segment's.
func (s *stream) use(f *os.File) { s.file, s.fd = f, f.Fd() }

// letGo closes files. The caller holds disk and mu.
func (s *stream) letGo() {
	for _, f := range append(s.former, s.file) {
		if f != nil {
			_ = f.Close() // what matters was synced, or will not be read
		}
	}
	s.former, s.file, s.torn, s.dirty, s.inherited, s.unnamed = nil, nil, false, false, false, false
}

// append is Log.Append.
func (s *stream) append(after store.Position, b *store.Batch, entries []store.Entry) ([]store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.usable(); err != nil {
		return entries, err
	}
	out := entries
	if after != s.last.Position {
		var err error
		if out, err = s.after(after, out); err != nil {
			return entries, err
		}
	}
	if b.Number == 0 {
		return out, nil
	}
	if len(b.Payload) > maxPayload {
		return entries, fmt.Errorf("file: a batch of %d bytes is too long: at most %d", len(b.Payload), maxPayload)
	}
	r := s.next(b)
	s.buffer = appendRecord(s.buffer[:0], &r)
	err := s.write(s.buffer)
	if cap(s.buffer) > maxBuffer {
		s.buffer = nil
	}
	if err != nil {
		return entries, err
	}
	s.advance(&r)
	if err := s.ensure(); err != nil {
		return entries, err
	}
	return append(out, r.entry()), nil
}

// maxBuffer bounds what an organization keeps to write with.
const maxBuffer = 64 << 10

// next gives a batch its place and time.
func (s *stream) next(b *store.Batch) record {
	r := record{
		Position: store.Position{Major: s.last.Major, Minor: s.last.Minor + 1, Incarnation: b.Incarnation, Number: b.Number},
		time:     s.last.time,
		wall:     s.last.wall,
		hold:     max(0, b.Hold),
		synced:   s.synced,
		join:     b.Join,
		payload:  b.Payload,
	}
	at := b.Claim.Time
	if b.Join {
		at = min(at, s.now()) // it may carry a claim of a former process
	}
	if (b.Join || b.Claim.Base >= s.base.Load()) && at > r.time {
		r.time, r.wall = at, b.Claim.Wall // of one instant: the next opening goes by them
	}
	return r
}

// advance makes a record the last.
func (s *stream) advance(r *record) {
	s.last = r.after(s.last)
	if r.join {
		s.joins.Store(s.last.joins)
		s.base.CompareAndSwap(notJoined, s.last.joins)
	}
}

// write adds to the last segment, or leaves it as it was.
func (s *stream) write(b []byte) error {
	if err := s.ready(); err != nil {
		return err
	}
	if _, err := s.file.WriteAt(b, s.size); err != nil {
		if s.torn = s.file.Truncate(s.size) != nil; s.torn {
			s.log.logger.Warn("a write that failed will be undone later", "file", s.currentPath())
		}
		return unavailable("write", err)
	}
	s.size += int64(len(b))
	return nil
}

// ensure sees to it that what was written comes to the disk when it should.
func (s *stream) ensure() error {
	switch {
	case s.log.sync == Always:
		if err := s.syncNow(); err != nil {
			s.fail(err)
			return unavailable("sync", err)
		}
	case s.log.sync != Never && !s.dirty:
		s.dirty = true
		s.log.syncer.add(s)
	}
	return nil
}

// after appends the entries after a position.
func (s *stream) after(p store.Position, entries []store.Entry) ([]store.Entry, error) {
	if p.Major != s.last.Major || p.Minor >= s.last.Minor {
		return entries, store.ErrBroken
	}
	from, checked := p.Minor, false
	if p == s.snapshot.Position || p == (store.Position{Major: p.Major}) {
		from, checked = p.Minor+1, true
	}
	err := s.extent().each(from, func(r *record) bool {
		if r.Minor == p.Minor {
			checked = r.Position == p
			return checked
		}
		entries = append(entries, r.entry())
		return checked
	})
	if err != nil {
		return nil, fmt.Errorf("file: %w: %w", store.ErrBroken, err)
	}
	if !checked {
		return nil, store.ErrBroken
	}
	return entries, nil
}

// load is Log.Load.
func (s *stream) load() (store.Snapshot, []store.Entry, error) {
	none := store.Snapshot{}
	s.expire()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.present(); err != nil {
		return none, nil, err
	}
	name := fileName{s.snapshot.Major, s.snapshot.Minor}
	got, err := readSnapshot(s.dir, name)
	var entries []store.Entry
	if err != nil {
		err = unreadable(s.organization, s.dir, name.format(snapshotEnding), err)
	} else if s.last.Minor > s.snapshot.Minor {
		err = s.extent().each(s.snapshot.Minor+1, func(r *record) bool {
			entries = append(entries, r.entry())
			return true
		})
	}
	if errors.Is(err, fs.ErrNotExist) {
		s.lose()
		return none, nil, store.ErrNotFound
	}
	if err != nil {
		return none, nil, err
	}
	return store.Snapshot{Position: got.Position, Time: got.time, State: got.state, Kept: got.kept, History: got.Major}, entries, nil
}
