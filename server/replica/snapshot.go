package replica

import (
	"context"
	"errors"

	"github.com/watermaster-project/watermaster/store"
)

// snapshot puts the state into the log when enough has been appended since it was last done,
// so that whoever loads it has little to replay. The process whose batch was the last does it
// first; the others only when there is twice as much.
func (r *Replica) snapshot() {
	due := max(r.snapshotEvery, r.size)
	if r.snapshotEvery <= 0 || r.tail < due || r.position.Incarnation != r.incarnation && r.tail < 2*due {
		return
	}
	select {
	case r.installing <- struct{}{}:
	default:
		return
	}
	s, ok := r.Written()
	if !ok {
		<-r.installing
		return
	}
	r.spawn(func() {
		r.Install(context.Background(), s)
		<-r.installing
	})
}

// Written gives the state as it is to stand in the log; false if there is none. Nothing is
// decided while it is written down.
func (r *Replica) Written() (s store.Snapshot, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lost || r.engine == nil {
		return s, false
	}
	s = store.Snapshot{Position: r.position, Time: r.applied, State: r.engine.Snapshot(nil)}
	r.tail, r.size = 0, len(s.State)
	return s, true
}

// Install puts a state into the log.
func (r *Replica) Install(ctx context.Context, s store.Snapshot) {
	if err := r.log.Install(ctx, r.name, s); err != nil && !errors.Is(err, store.ErrStale) {
		r.logger.Warn("a snapshot could not be installed", "error", err)
	}
}
