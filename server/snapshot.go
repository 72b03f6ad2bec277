package server

import (
	"context"
	"errors"

	"github.com/watermaster-project/watermaster/store"
)

// snapshot puts the organization's state into the log when enough has been appended since
// it was last done, so that whoever loads it has little to replay. Nothing is decided while
// the state is written down; installing it is up to the log.
func (o *organization) snapshot(ctx context.Context) {
	if o.snapshotEvery > 0 && o.tail >= max(o.snapshotEvery, o.snapshotSize) {
		o.install(ctx)
	}
}

// install puts the organization's state into the log.
func (o *organization) install(ctx context.Context) {
	o.state.Lock()
	if o.lost {
		o.state.Unlock()
		return
	}
	s := store.Snapshot{Position: o.position, Time: o.applied, State: o.engine.Snapshot(nil)}
	o.state.Unlock()
	o.tail, o.snapshotSize = 0, len(s.State)
	if err := o.log.Install(ctx, o.name, s); err != nil && !errors.Is(err, store.ErrStale) {
		o.logger.Warn("a snapshot could not be installed", "error", err)
	}
}
