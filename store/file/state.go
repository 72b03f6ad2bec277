package file

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// The state file holds, in the body of its frame, the wall time since which the directory
// has lost nothing: int64, Unix ns.

// decodeState reads a state file.
func decodeState(b []byte) (since int64, err error) {
	body, rest, err := decodeFrame(b, kindState)
	if err != nil {
		return 0, err
	}
	if len(body) != 8 || len(rest) != 0 {
		return 0, errBody
	}
	return int64(binary.LittleEndian.Uint64(body)), nil
}

// readState finds out for how long the directory has lost nothing. One without the file
// is new; one whose file is damaged counts as that.
func (l *Log) readState() error {
	path := filepath.Join(l.dir, stateName)
	wall, monotonic := l.clock()
	b, err := os.ReadFile(path)
	if err == nil {
		var since int64
		if since, err = decodeState(b); err == nil {
			l.known, l.knownAt = time.Duration(elapsed(since, wall)), monotonic
			return nil
		}
		var later *versionError
		if errors.As(err, &later) {
			return fmt.Errorf("file: %s: %w", path, err)
		}
	}
	if !errors.Is(err, fs.ErrNotExist) {
		l.logger.Warn("for how long nothing was lost is not known any more: counted from now", "file", path, "error", err)
	}
	return l.noteLoss()
}

// noteLoss writes down that something was lost just now.
func (l *Log) noteLoss() error {
	l.stateLock.Lock()
	defer l.stateLock.Unlock()
	wall, monotonic := l.clock()
	l.known, l.knownAt = 0, monotonic
	b := frame(kindState, binary.LittleEndian.AppendUint64(nil, uint64(wall)))
	if err := replace(filepath.Join(l.dir, stateName), b); err != nil {
		return fmt.Errorf("file: %w", err)
	}
	if err := syncDirectory(l.dir); err != nil {
		return fmt.Errorf("file: %w", err)
	}
	return nil
}

// kept gives for how long nothing was lost. ≥ 0.
func (l *Log) kept() time.Duration {
	l.stateLock.Lock()
	defer l.stateLock.Unlock()
	_, monotonic := l.clock()
	return max(0, l.known) + max(0, time.Duration(monotonic-l.knownAt))
}

// elapsed gives the time from one reading of a wall clock to a later one; none, if it was
// set back or never set.
func elapsed(from, to int64) int64 { return max(0, to-from) }
