//go:build unix && !aix && !solaris

package file

import (
	"os"
	"syscall"
)

// lock takes a file for this process, until it is closed. taken: another one has it.
func lock(f *os.File) (taken bool, err error) {
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	return err == syscall.EWOULDBLOCK, err
}

// look gives the size of an open file, and whether it still has a name. It allocates
// nothing.
func look(fd uintptr) (size int64, named bool, err error) {
	var st syscall.Stat_t
	if err := syscall.Fstat(int(fd), &st); err != nil {
		return 0, false, err
	}
	return st.Size, st.Nlink > 0, nil
}
