package file

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/watermaster-project/watermaster/store"
)

// A damage is what keeps an organization's log from being read. It is ErrBroken and not
// ErrNotFound: with that, whoever loads would begin with nothing used.
type damage struct {
	organization string // as far as it is known
	dir          string
	file         string
	cause        error
}

func (d *damage) Error() string {
	what := d.cause.Error()
	if errors.Is(d.cause, fs.ErrNotExist) {
		what = "it is missing"
	}
	return fmt.Sprintf("file: the log of organization %s is damaged: %s/%s: %s. Nothing was changed. "+
		"To begin again as if nothing had been used, move the directory %s away and restart",
		d.organization, d.dir, d.file, what, d.dir)
}

func (d *damage) Unwrap() []error { return []error{store.ErrBroken, d.cause} }

// unreadable is the error for a file of an organization that cannot be read: a damage,
// unless it is of a later version or the system refuses.
func unreadable(organization, dir, file string, err error) error {
	var later *versionError
	var system *fs.PathError
	if errors.As(err, &later) || errors.As(err, &system) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("file: organization %s: %s/%s: %w", organization, dir, file, err)
	}
	return &damage{organization, dir, file, err}
}

func unavailable(what string, err error) error {
	return fmt.Errorf("file: %s: %w: %w", what, store.ErrUnavailable, err)
}
