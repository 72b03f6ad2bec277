package main

import (
	"context"
	"os"
	"time"
)

// A stamp tells whether a file is another than before. Links are followed, so that a file
// that is put in place by a swapped link (as Kubernetes does) is seen too.
type stamp struct {
	exists bool
	time   time.Time
	size   int64
	inode  os.FileInfo
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	return stamp{true, info.ModTime(), info.Size(), info}
}

func (s stamp) same(t stamp) bool {
	return s.exists == t.exists && s.time.Equal(t.time) && s.size == t.size &&
		(!s.exists || os.SameFile(s.inode, t.inode))
}

// watch calls changed when the file becomes another than it was last, and whenever asked. A
// file that is not there is being replaced: nothing is done until it is.
func watch(ctx context.Context, path string, last stamp, every time.Duration, asked <-chan os.Signal, changed func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			last = stampOf(path)
			changed()
		case <-ticker.C:
			if now := stampOf(path); now.exists && !now.same(last) {
				last = now
				changed()
			}
		}
	}
}
