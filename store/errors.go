package store

import "errors"

// What a Log answers; it may be wrapped.
var (
	// ErrNotFound says that an organization has no complete log.
	ErrNotFound = errors.New("store: no such log")
	// ErrExists says that there is a log already.
	ErrExists = errors.New("store: log exists")
	// ErrBroken says that the log does not continue from a position.
	ErrBroken = errors.New("store: log broken")
	// ErrStale says that a snapshot may not be installed.
	ErrStale = errors.New("store: snapshot is stale")
	// ErrUnavailable says that the log cannot be reached now. What was asked for may have
	// happened all the same.
	ErrUnavailable = errors.New("store: log unavailable")
	// ErrClosed says that the log was closed; nothing has happened.
	ErrClosed = errors.New("store: log closed")
)
