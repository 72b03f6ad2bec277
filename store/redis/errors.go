package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/watermaster-project/watermaster/store"
)

// failure makes an error of the transport's one of ours. ctx is the caller's own.
func (l *Log) failure(ctx context.Context, what string, err error) error {
	var said goredis.Error
	switch {
	case err == nil:
		return nil
	case l.closing.Err() != nil || errors.Is(err, goredis.ErrClosed) || errors.Is(err, store.ErrClosed):
		return store.ErrClosed
	case ended(ctx) != nil:
		return fmt.Errorf("redis: %s: %w", what, ended(ctx))
	case errors.Is(err, goredis.ErrCrossSlot), goredis.HasErrorPrefix(err, "WRONGTYPE"):
		return fmt.Errorf("redis: %s: somebody else uses the keys: %w", what, err)
	case errors.As(err, &said) && advice(err) != "":
		return fmt.Errorf("redis: %s: %w: %s: %w", what, store.ErrUnavailable, advice(err), err)
	}
	return fmt.Errorf("redis: %s: %w: %w", what, store.ErrUnavailable, err)
}

// ended says why a context has ended. A connection notices a deadline before the context
// does.
func ended(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

const replicaAdvice = "this server is a replica; it becomes the master, or the address has to name the master"

// advice says what to do about what a Redis server refuses. All of it may be well later,
// without anybody's doing or with.
func advice(err error) string {
	switch {
	case goredis.IsReadOnlyError(err), goredis.IsMasterDownError(err):
		return replicaAdvice
	case goredis.IsLoadingError(err):
		return "the server is still reading its data"
	case goredis.IsClusterDownError(err), goredis.IsTryAgainError(err):
		return "the cluster does not serve these keys now"
	case goredis.IsAuthError(err):
		return "check user and password"
	case goredis.IsPermissionError(err):
		return "the user may not do this: ACL SETUSER NAME " + MinimalACL
	case goredis.IsOOMError(err):
		return "the server's memory is full: raise maxmemory; maxmemory-policy has to be noeviction"
	case goredis.IsNoReplicasError(err):
		return "the server has too few replicas to take writes (min-replicas-to-write)"
	case goredis.IsMaxClientsError(err):
		return "the server has too many connections (maxclients)"
	case goredis.HasErrorPrefix(err, "MISCONF"):
		return "the server cannot write its data to the disk, and takes no writes: make room there, and see its log"
	}
	return ""
}
