//go:build !unix || aix || solaris

package file

import (
	"errors"
	"os"
)

func lock(*os.File) (taken bool, err error) {
	return false, errors.New("this operating system has no flock, by which a process keeps others out")
}

func look(uintptr) (size int64, named bool, err error) { return 0, false, errors.ErrUnsupported }
