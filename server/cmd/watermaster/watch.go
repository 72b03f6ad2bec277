package main

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/watermaster-project/watermaster/server/envoy"
)

// A stamp tells whether a file, or the files of a directory of limits, are others than before.
// Links are followed, so that what is put in place by a swapped link (as Kubernetes does) is
// seen too.
type stamp struct {
	directory bool
	files     []fileStamp // none: nothing is there
}

type fileStamp struct {
	path string
	info os.FileInfo
}

// stampOf gives the stamp of a file or a directory. One that cannot be read as a whole has
// nothing in it.
func stampOf(path string) (s stamp) {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{}
	}
	if !info.IsDir() {
		return stamp{files: []fileStamp{{path, info}}}
	}
	s.directory = true
	paths, err := envoy.Files(path)
	if err != nil {
		return s
	}
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return stamp{directory: true}
		}
		s.files = append(s.files, fileStamp{path, info})
	}
	return s
}

// missedLooks is after how many looks what is not there is taken for gone.
const missedLooks = 10

func (s stamp) exists() bool { return len(s.files) > 0 }

func (s stamp) same(t stamp) bool {
	return slices.EqualFunc(s.files, t.files, func(a, b fileStamp) bool {
		return a.path == b.path && a.info.ModTime().Equal(b.info.ModTime()) && a.info.Size() == b.info.Size() &&
			os.SameFile(a.info, b.info)
	})
}

// watch calls changed when the file or directory becomes another than it was last, and
// whenever asked. What is not there is being replaced: nothing is done until it is, or until it
// has not been for so many looks that somebody should hear of it. A
// directory is written file by file: nothing is done until it is the same at two looks.
func watch(ctx context.Context, path string, last stamp, every time.Duration, asked <-chan os.Signal, changed func()) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	seen, missed := last, 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-asked:
			last = stampOf(path)
			seen = last
			changed()
		case <-ticker.C:
			now := stampOf(path)
			settled := !now.directory || now.same(seen)
			seen = now
			if now.exists() {
				missed = 0
			} else if missed++; missed == missedLooks {
				changed() // who looks for it says what is wrong
			}
			if now.exists() && settled && !now.same(last) {
				last = now
				changed()
			}
		}
	}
}
