package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A listing is the files of an organization, in order.
type listing struct {
	snapshots, logs []fileName
	unfinished      []string
}

func listFiles(dir string) (l listing, err error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return l, err
	}
	for _, e := range all {
		if n, ok := parseFileName(e.Name(), snapshotEnding); ok {
			l.snapshots = append(l.snapshots, n)
		} else if n, ok := parseFileName(e.Name(), logEnding); ok {
			l.logs = append(l.logs, n)
		} else if strings.HasSuffix(e.Name(), newEnding) {
			l.unfinished = append(l.unfinished, filepath.Join(dir, e.Name()))
		}
	}
	for _, names := range [][]fileName{l.snapshots, l.logs} {
		slices.SortFunc(names, func(a, b fileName) int {
			return cmp.Or(cmp.Compare(a.major, b.major), cmp.Compare(a.minor, b.minor))
		})
	}
	return l, nil
}

// recoverAtOnce is how many organizations are read at a time: some wait for the disk while
// others are checked.
const recoverAtOnce = 8

// recover makes the streams of the organizations that the directory has.
func (l *Log) recover() error {
	all, err := os.ReadDir(l.dir)
	if err != nil {
		return fmt.Errorf("file: %w", err)
	}
	var dirs []string
	for _, e := range all {
		switch name := e.Name(); {
		case strings.HasSuffix(name, goneEnding), name == stateName+newEnding:
			if err := os.RemoveAll(filepath.Join(l.dir, name)); err != nil {
				return fmt.Errorf("file: %w", err)
			}
		case e.IsDir() && isDirectoryName(name):
			dirs = append(dirs, name)
		}
	}
	var mu sync.Mutex
	lost := false
	together(dirs, recoverAtOnce, func(name string) {
		s, err := l.recoverStream(filepath.Join(l.dir, name))
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			l.damaged[name] = err
			l.logger.Error("an organization cannot be served", "error", err)
			var d *damage
			lost = lost || errors.As(err, &d)
		case s != nil:
			l.streams[s.organization] = s
			l.major = max(l.major, s.last.Major)
		}
	})
	if lost {
		return l.noteLoss()
	}
	return nil
}

// recoverStream makes the stream of a directory; nil: it holds nothing.
func (l *Log) recoverStream(dir string) (*stream, error) {
	called := filepath.Base(dir) // until the name is known
	files, err := listFiles(dir)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	for _, f := range files.unfinished {
		if err := os.Remove(f); err != nil {
			return nil, fmt.Errorf("file: %w", err)
		}
	}
	var major uint64 // of the latest history that has begun
	if n := len(files.snapshots); n > 0 {
		major = files.snapshots[n-1].major
	}
	// A log whose history has no snapshot is of a Create that did not end, and empty.
	for _, f := range files.logs {
		if f.major <= major {
			continue
		}
		if err := removeEmpty(dir, f); err != nil {
			return nil, unreadable(called, dir, f.format(logEnding), err)
		}
	}
	if major == 0 {
		_ = os.Remove(dir) // it is empty, or holds what is not ours
		return nil, nil
	}
	var first error
	for _, f := range slices.Backward(files.snapshots) {
		if f.major != major {
			break
		}
		snap, err := readSnapshot(dir, f)
		if err == nil && directoryName(snap.organization) != filepath.Base(dir) {
			err = fmt.Errorf("it belongs to organization %q", snap.organization)
		}
		if err != nil {
			err = unreadable(called, dir, f.format(snapshotEnding), err)
			var d *damage
			if !errors.As(err, &d) {
				return nil, err
			}
			first = cmp.Or(first, err)
			continue
		}
		if first != nil {
			l.logger.Warn("a damaged snapshot is replaced by the one before it", "error", first)
		}
		r := recovery{log: l, dir: dir, snapshot: snap, end: snap.place}
		for _, g := range files.logs {
			if g.major == major {
				r.segments = append(r.segments, g.minor)
			}
		}
		if err := r.run(); err != nil {
			return nil, err
		}
		s := r.stream()
		for _, g := range files.snapshots {
			if g.major == major && g.minor < f.minor {
				s.previous = g.minor
			}
		}
		return s, nil
	}
	return nil, first
}

// removeEmpty removes a log file without entries.
func removeEmpty(dir string, f fileName) error {
	b, err := os.ReadFile(path(dir, f, logEnding))
	if err != nil {
		return err
	}
	_, _, records, err := decodeSegment(b)
	if err != nil {
		return err
	}
	if len(records) > 0 {
		return errors.New("it has entries, and the snapshot that they follow is missing")
	}
	if err := os.Remove(path(dir, f, logEnding)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
