package file

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/watermaster-project/watermaster/store"
)

// Log is a store.Log on disk, of one process. Its context is ignored: what a call waits
// for is the disk, and that cannot be called off.
type Log struct {
	dir    string
	sync   Sync
	clock  func() (wall, monotonic int64)
	logger *slog.Logger
	lock   *os.File
	syncer syncer

	stateLock sync.Mutex
	known     time.Duration // for how long nothing was lost, at knownAt
	knownAt   int64         // monotonic

	mu      sync.RWMutex // taken after those of streams
	closed  bool
	streams map[string]*stream
	damaged map[string]error // by directory: organizations that cannot be served
	major   uint64           // the highest that was given
	offset  int64            // log time − monotonic, for organizations without a stream
}

var _ store.Log = (*Log)(nil)

// Open opens the log in a directory, and makes one where there is none. It finds what a
// former process has left, and cuts what that had not finished to write. Organizations
// that are damaged are told to the Logger and returned as errors by all calls for them.
//
// An error says what to do about it; another process that has the log is one.
func Open(dir string, o Options) (*Log, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	l := &Log{
		dir:     dir,
		sync:    o.Sync,
		clock:   o.Clock,
		logger:  o.Logger,
		streams: map[string]*stream{},
		damaged: map[string]error{},
		syncer:  syncer{wake: make(chan struct{}, 1)},
	}
	wall, monotonic := l.clock()
	l.offset = wall - monotonic
	if err := l.takeLock(); err != nil {
		return nil, err
	}
	err := l.readState()
	if err == nil {
		err = l.recover()
	}
	if err != nil {
		_ = l.lock.Close()
		return nil, err
	}
	l.syncer.start(l)
	return l, nil
}

// takeLock keeps other processes out.
func (l *Log) takeLock() error {
	path := filepath.Join(l.dir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if taken, err := lock(f); err != nil {
		defer f.Close()
		if !taken {
			return fmt.Errorf("file: lock %s: %w", path, err)
		}
		b := make([]byte, 20)
		n, _ := f.Read(b) // empty: it is only a hint
		return fmt.Errorf("file: another process (%s) keeps its state in %s: one process can do so at a time. "+
			"End that one first, or give this one another directory", strings.TrimSpace(string(b[:n])), l.dir)
	}
	l.lock = f
	if err := f.Truncate(0); err != nil {
		return errors.Join(fmt.Errorf("file: %w", err), f.Close())
	}
	if _, err := fmt.Fprintf(f, "%d\n", os.Getpid()); err != nil {
		return errors.Join(fmt.Errorf("file: %w", err), f.Close())
	}
	return nil
}

// find gives the stream of an organization; nil: it has none.
func (l *Log) find(organization string) (*stream, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	if s := l.streams[organization]; s != nil {
		return s, nil
	}
	if len(l.damaged) > 0 {
		return nil, l.damaged[directoryName(organization)]
	}
	return nil, nil
}

// findOrAdd is find for one who begins a log.
func (l *Log) findOrAdd(organization string) (*stream, error) {
	s, err := l.find(organization)
	if s != nil || err != nil {
		return s, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, store.ErrClosed
	}
	if s = l.streams[organization]; s == nil {
		s = newStream(l, organization, l.offset)
		l.streams[organization] = s
	}
	return s, nil
}

// nextMajor names a history: later than all others, and not to be guessed.
func (l *Log) nextMajor() uint64 {
	wall, _ := l.clock()
	l.mu.Lock()
	defer l.mu.Unlock()
	const random = 1<<20 - 1 // ns
	l.major = max(uint64(max(0, wall))&^random|rand.Uint64()&random, l.major+1)
	return l.major
}

// Now implements store.Log.
func (l *Log) Now(organization string) (store.Claim, bool) {
	wall, monotonic := l.clock()
	l.mu.RLock()
	s, offset := l.streams[organization], l.offset
	l.mu.RUnlock()
	if s == nil {
		return store.Claim{Time: store.Time(monotonic + offset), Wall: wall}, false
	}
	joined := s.base.Load() != notJoined // before joins: those are then not fewer
	return store.Claim{Time: store.Time(monotonic + s.offset.Load()), Base: s.joins.Load(), Wall: wall}, joined
}

// Load implements store.Log. Its snapshot and entries come from the disk.
func (l *Log) Load(_ context.Context, organization string) (store.Snapshot, []store.Entry, error) {
	s, err := l.find(organization)
	if err != nil {
		return store.Snapshot{}, nil, err
	}
	if s == nil {
		return store.Snapshot{}, nil, store.ErrNotFound
	}
	return s.load()
}

// Create implements store.Log. It returns when the beginning is on the disk.
func (l *Log) Create(_ context.Context, organization string, from store.Snapshot) error {
	if len(from.State) > maxState || len(organization) > maxName {
		return fmt.Errorf("file: a state of %d bytes, or the organization's name, is too long", len(from.State))
	}
	for {
		s, err := l.findOrAdd(organization)
		if err != nil {
			return err
		}
		if err := s.create(from); !errors.Is(err, errDropped) {
			return err
		}
	}
}

// Append implements store.Log.
func (l *Log) Append(_ context.Context, organization string, after store.Position, batch store.Batch, entries []store.Entry) ([]store.Entry, error) {
	s, err := l.find(organization)
	if err != nil {
		return entries, err
	}
	if s == nil {
		return entries, store.ErrBroken
	}
	return s.append(after, &batch, entries)
}

// Install implements store.Log. It returns when the snapshot is on the disk. Entries can
// be appended meanwhile.
func (l *Log) Install(_ context.Context, organization string, from store.Snapshot) error {
	if len(from.State) > maxState {
		return fmt.Errorf("file: a state of %d bytes is too long: at most %d", len(from.State), maxState)
	}
	s, err := l.find(organization)
	if err != nil {
		return err
	}
	if s == nil {
		return store.ErrNotFound
	}
	return s.install(from)
}

// Close implements io.Closer. Unless Sync is Never, everything is on the disk when it
// returns without an error.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.syncer.stop()
	var all []error
	for _, s := range l.streams { // nobody changes it any more
		all = append(all, s.close())
	}
	return errors.Join(append(all, l.lock.Close())...)
}
