package config

import (
	"bytes"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math"
	"os"
	"time"

	"github.com/watermaster-project/watermaster/limiter"
	"github.com/watermaster-project/watermaster/server/spelling"
)

// maxSize is the largest file that is read, in bytes.
const maxSize = 4 << 20

// A reader reads one file. It goes on behind an error, so that all are told at once.
type reader struct {
	file     string
	modTime  time.Time
	hash     hash.Hash64
	errors   ledger
	failures int // errors, those told before included
	warnings ledger

	nodes    int  // made so far, see maxNodes
	exceeded bool // a bound of the tree was exceeded: nothing is read
	spelling spelling.Search

	models modelIndex
	zones  map[string][]limiter.ZoneOffset
}

// Load reads a configuration from a file.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSize+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	c, err := Parse(path, data, info.ModTime())
	if err != nil {
		return nil, err
	}
	if info.ModTime().AddDate(zoneYearsAfter-1, 0, 0).Before(time.Now()) && c.hasZone() {
		c.Warnings = append(c.Warnings, Problem{File: path,
			Message: "calendar limits know their zones only for six years from the file's modification time: save it anew"})
	}
	return c, nil
}

// Parse reads a configuration. name is what problems are told under; modTime, the file's
// modification time, is the revision of a file that gives none, and dates the zones of
// calendar limits. A zero time is the epoch: revision 0.
//
// The error is of type [Errors] and holds all that is wrong. The result depends on
// nothing but the arguments and the environment variables that the file names.
func Parse(name string, data []byte, modTime time.Time) (*Config, error) {
	r := &reader{file: name, modTime: modTime, hash: fnv.New64a(), spelling: spelling.Search{Work: maxSpelling}}
	if modTime.IsZero() { // a zero time has no Unix nanoseconds
		r.modTime = time.Unix(0, 0)
	}
	if len(data) > maxSize {
		r.fail(nil, "", "larger than 4 MiB")
		return nil, Errors(r.errors.sorted())
	}
	r.hash.Write(data)
	root := r.parse(data)
	if root != nil && root.kind != mapping && !root.null {
		r.fail(root, "", "a configuration is a mapping, not %v", root)
		root = nil
	}
	if root == nil {
		return nil, Errors(r.errors.sorted())
	}
	c := r.config(root)
	if len(r.errors.list) > 0 {
		return nil, Errors(r.errors.sorted())
	}
	c.Warnings = r.warnings.sorted()
	c.source = &source{bytes.Clone(data)}
	return c, nil
}

// config reads the file's top level.
func (r *reader) config(root *node) *Config {
	c := &Config{}
	f := r.fields(root, "the configuration",
		"revision", "units", "models", "organizations", "priority_classes", "pressure", "credentials", "cold_start", "max_replicas")
	c.Revision = f.whole("revision", r.modTime.UnixNano(), 1, math.MaxInt64)
	c.Models = r.readModels(f)
	c.Classes = r.readClasses(f)
	c.Pressure = r.readPressure(f)
	c.Organizations = r.readOrganizations(f)
	c.Credentials = r.readCredentials(f, c)
	c.Hash = r.hash.Sum64()
	return c
}

// fail tells of an error at a node.
func (r *reader) fail(at *node, hint, format string, args ...any) {
	r.failures++
	r.errors.add(r.problem(at, hint, format, args))
}

// warn tells of what is legal and yet suspect.
func (r *reader) warn(at *node, format string, args ...any) {
	r.warnings.add(r.problem(at, "", format, args))
}

func (r *reader) problem(at *node, hint, format string, args []any) Problem {
	p := Problem{File: r.file, Message: fmt.Sprintf(format, args...), Hint: hint}
	if at != nil {
		p.Line, p.Column = at.line, at.column
	}
	return p
}
