package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermaster-project/watermaster/store"
	"github.com/watermaster-project/watermaster/store/redis"
)

// How often a store that is away is tried, and how often it is said that it still is.
const (
	tryEvery  = 250 * time.Millisecond
	tellEvery = 10 * time.Second
)

// await tries to begin until the store is there, for --store-wait. Whoever asks meanwhile is
// told that nothing is served yet. What waiting does not cure is returned at once.
func (s *service) await(ctx context.Context, begin func() error) error {
	err := begin()
	if err == nil || s.flags.store.url == "" || errors.Is(err, redis.ErrSetup) {
		return err
	}
	if unfit := s.flags.store.unfit(ctx, s.logger); unfit != nil {
		return errors.Join(unfit, err)
	}
	if !mayReturn(err) {
		return err
	}
	p, listenErr := s.newPlaceholder("the store is away")
	if listenErr != nil {
		return errors.Join(listenErr, err)
	}
	defer p.close()
	since, told := time.Now(), time.Time{}
	for mayReturn(err) {
		left := s.flags.storeWait - time.Since(since)
		if left <= 0 {
			return fmt.Errorf("%w; it was tried for %v (--store-wait): see that Redis runs there and lets this machine in; "+
				"`watermaster check --store URL` examines it", err, s.flags.storeWait)
		}
		if time.Since(told) >= tellEvery {
			told = time.Now()
			s.logger.Warn("the store is away: the start waits for it", "left", left.Round(time.Second), "grpc", p.addresses[0], "http", p.addresses[1:], "error", err)
		}
		t := time.NewTimer(min(tryEvery, left))
		select {
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		case <-t.C:
		}
		err = begin()
	}
	return err
}

// mayReturn says whether an error is of a store that is away, and may be back.
func mayReturn(err error) bool {
	return errors.Is(err, store.ErrUnavailable) && !errors.Is(err, redis.ErrSetup)
}
