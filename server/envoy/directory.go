package envoy

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	// MaxFile is the largest file that is read, in bytes.
	MaxFile = 1 << 20
	// maxFiles and maxTotal bound a directory: a wrong one (/, say) is told of, not read.
	maxFiles = 4096
	maxTotal = 64 << 20
	// maxNesting bounds directories within directories.
	maxNesting = 16
)

// A File is one file of a directory.
type File struct {
	Name string // what problems are told under
	Data []byte
}

// Load reads the limits of a directory. An error of type [Errors] holds all that is wrong
// with its files. A directory without any file is an error: one that is being swapped, or
// mounted later, would lift every limit.
func Load(dir string, o Options) (*Limits, error) {
	d := directory{seen: make(map[string]bool)}
	if err := d.read(dir, 0); err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	if len(d.files) == 0 {
		return nil, fmt.Errorf("limits: %s has no files: put in one with a domain", dir)
	}
	return Parse(d.files, o)
}

// A directory gathers the files below it, by name.
type directory struct {
	files []File
	total int
	seen  map[string]bool // what links have led to, or may yet lead to
}

func (d *directory) read(path string, depth int) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || d.seen[real] {
		return err
	}
	d.seen[real] = true
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular():
		return d.file(path)
	case !info.IsDir():
		return fmt.Errorf("%s is neither a file nor a directory", path)
	case depth > maxNesting:
		return fmt.Errorf("%s: nested deeper than %d directories", path, maxNesting)
	}
	entries, err := os.ReadDir(real)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if err := d.read(filepath.Join(path, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (d *directory) file(path string) error {
	if len(d.files) >= maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err != nil {
		return err
	}
	if d.total += len(data); d.total > maxTotal {
		return errors.New("more than 64 MiB of files")
	}
	d.files = append(d.files, File{path, data})
	return nil
}
