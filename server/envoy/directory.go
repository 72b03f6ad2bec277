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
	files, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("limits: %w", err)
	}
	return Parse(files, o)
}

func read(dir string) ([]File, error) {
	paths, err := Files(dir)
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("%s has no files: put in one with a domain", dir)
	}
	var files []File
	total := 0
	for _, path := range paths {
		f, err := readFile(path)
		if err != nil {
			return nil, err
		}
		if total += len(f.Data); total > maxTotal {
			return nil, errors.New("more than 64 MiB of files")
		}
		files = append(files, f)
	}
	return files, nil
}

func readFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	return File{path, data}, err
}

// Files gives the paths of the files that Load reads of a directory, sorted within each
// directory.
func Files(dir string) ([]string, error) {
	d := directory{seen: make(map[string]bool)}
	err := d.walk(dir, 0)
	return d.files, err
}

// A directory gathers the files below it, by name.
type directory struct {
	files []string
	seen  map[string]bool // what has been met, links resolved
}

func (d *directory) walk(path string, depth int) error {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || d.seen[real] {
		return err
	}
	d.seen[real] = true
	info, err := os.Stat(real)
	switch {
	case err != nil:
		return err
	case info.Mode().IsRegular() && len(d.files) >= maxFiles:
		return fmt.Errorf("more than %d files", maxFiles)
	case info.Mode().IsRegular():
		d.files = append(d.files, path)
		return nil
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
		if err := d.walk(filepath.Join(path, e.Name()), depth+1); err != nil {
			return err
		}
	}
	return nil
}
