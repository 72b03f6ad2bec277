package server

import (
	"context"
	"errors"

	"github.com/watermaster-project/watermaster/store"
)

// snapshot puts the organization's state into the log when enough has been appended since
// it was last done, so that whoever loads it has little to replay. Nothing is decided while
// the state is written down; decisions go on while the log installs it.
func (o *organization) snapshot() {
	if o.snapshotEvery <= 0 || o.tail < max(o.snapshotEvery, o.snapshotSize) || !o.installing.CompareAndSwap(false, true) {
		return
	}
	s, ok := o.written()
	if !ok {
		o.installing.Store(false)
		return
	}
	o.background.Go(func() {
		o.install(context.Background(), s)
		o.installing.Store(false)
	})
}

// written gives the state as it is to stand in the log; false if there is none.
func (o *organization) written() (s store.Snapshot, ok bool) {
	o.state.Lock()
	defer o.state.Unlock()
	if o.lost {
		return s, false
	}
	s = store.Snapshot{Position: o.position, Time: o.applied, State: o.engine.Snapshot(nil)}
	o.tail, o.snapshotSize = 0, len(s.State)
	return s, true
}

// install puts a state into the log.
func (o *organization) install(ctx context.Context, s store.Snapshot) {
	if err := o.log.Install(ctx, o.name, s); err != nil && !errors.Is(err, store.ErrStale) {
		o.logger.Warn("a snapshot could not be installed", "error", err)
	}
}
