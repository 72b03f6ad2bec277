package file

import (
	"errors"
	"os"
	"sync"
	"time"
)

// flush puts what was appended until now on the disk. Appends go on. The caller holds
// disk.
func (s *stream) flush() error {
	s.mu.Lock()
	s.dirty = false
	to, former, unnamed, inherited := s.last.Minor, len(s.former), s.unnamed, s.inherited
	files := append([]*os.File(nil), s.former...)
	if s.file != nil {
		files = append(files, s.file)
	}
	var paths []string
	if inherited {
		for _, minor := range s.segments {
			paths = append(paths, path(s.dir, fileName{s.last.Major, minor}, logEnding))
		}
	}
	idle := s.status != whole || s.synced == to && former == 0 && !unnamed && !inherited
	s.mu.Unlock()
	if idle {
		return nil
	}
	err := syncAll(files, paths)
	if err == nil && (unnamed || inherited) {
		err = syncDirectory(s.dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fail(err)
		return err
	}
	for _, f := range s.former[:former] {
		_ = f.Close() // it is synced
	}
	s.former = append([]*os.File(nil), s.former[former:]...)
	s.synced = max(s.synced, to)
	s.unnamed, s.inherited = false, false
	return nil
}

// syncNow puts everything on the disk while the caller holds mu.
func (s *stream) syncNow() error {
	if err := s.file.Sync(); err != nil {
		return err
	}
	if s.unnamed || len(s.former) > 0 { // Install is about to do the same
		if err := errors.Join(syncAll(s.former, nil), syncDirectory(s.dir)); err != nil {
			return err
		}
	}
	s.synced, s.unnamed = s.last.Minor, false
	return nil
}

func syncAll(files []*os.File, paths []string) error {
	for _, f := range files {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	for _, p := range paths {
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		if err := errors.Join(f.Sync(), f.Close()); err != nil {
			return err
		}
	}
	return nil
}

// A syncer syncs in the background what was appended, and forgets idle organizations. It
// sleeps while nothing is appended.
type syncer struct {
	log     *Log
	every   time.Duration
	wake    chan struct{} // holds one
	closing chan struct{}
	done    chan struct{}

	mu    sync.Mutex
	dirty []*stream
}

const (
	sweepEvery = time.Minute
	// syncsAtOnce is how many organizations are synced at a time: the file system makes
	// one write of those that come together.
	syncsAtOnce = 16
)

func (y *syncer) start(l *Log) {
	y.log, y.every = l, max(0, time.Duration(l.sync))
	y.closing, y.done = make(chan struct{}), make(chan struct{})
	go y.run()
}

func (y *syncer) stop() {
	close(y.closing)
	<-y.done
}

// add has a stream synced in due time.
func (y *syncer) add(s *stream) {
	y.mu.Lock()
	y.dirty = append(y.dirty, s)
	y.mu.Unlock()
	select {
	case y.wake <- struct{}{}:
	default: // it knows
	}
}

func (y *syncer) run() {
	defer close(y.done)
	sweep := time.NewTicker(sweepEvery)
	defer sweep.Stop()
	due := time.NewTimer(time.Hour)
	due.Stop()
	armed := false
	y.sweep()
	for {
		select {
		case <-y.closing:
			return
		case <-sweep.C:
			y.sweep()
		case <-y.wake:
			if !armed {
				armed = true
				due.Reset(y.every)
			}
		case <-due.C:
			armed = false
			y.syncDirty()
		}
	}
}

// syncDirty syncs what is dirty. Failures are noted by the streams.
func (y *syncer) syncDirty() {
	y.mu.Lock()
	all := y.dirty
	y.dirty = nil
	y.mu.Unlock()
	together(all, syncsAtOnce, func(s *stream) {
		s.disk.Lock()
		defer s.disk.Unlock()
		_ = s.flush()
	})
}

// sweep forgets organizations that have been idle for longer than their hold.
func (y *syncer) sweep() {
	y.log.mu.RLock()
	all := make([]*stream, 0, len(y.log.streams))
	for _, s := range y.log.streams {
		all = append(all, s)
	}
	y.log.mu.RUnlock()
	for _, s := range all {
		s.drop()
	}
}

// together does something with each of many, some at a time.
func together[T any](all []T, atOnce int, do func(T)) {
	next := make(chan T)
	var workers sync.WaitGroup
	for range min(atOnce, len(all)) {
		workers.Go(func() {
			for x := range next {
				do(x)
			}
		})
	}
	for _, x := range all {
		next <- x
	}
	close(next)
	workers.Wait()
}
