package watermaster

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// shutTimeout is how long Close waits for those whose asking it has ended.
const shutTimeout = time.Second

// background keeps account of goroutines and timers, so that Close can end them. It ends in two
// steps: first nobody may ask any more, then, when releases are delivered, nothing may run.
type background struct {
	asking, running   context.Context
	endAsking, endAll context.CancelFunc

	mu   sync.Mutex
	wg   sync.WaitGroup
	asks sync.WaitGroup
}

func (b *background) open() {
	b.running, b.endAll = context.WithCancel(context.Background())
	b.asking, b.endAsking = context.WithCancel(b.running)
}

// enter says whether something may run; it calls leave when it is done.
func (b *background) enter() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.running.Err() != nil {
		return false
	}
	b.wg.Add(1)
	return true
}

func (b *background) leave() { b.wg.Done() }

// ask says whether somebody may ask, who calls asks.Done when the answer is there.
func (b *background) ask() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.asking.Err() != nil {
		return false
	}
	b.asks.Add(1)
	return true
}

// shut lets nobody ask any more, and those who do end. False: it was shut before.
func (b *background) shut() bool {
	b.mu.Lock()
	was := b.asking.Err() != nil
	b.endAsking()
	b.mu.Unlock()
	if was {
		return false
	}
	ended := make(chan struct{})
	go func() { b.asks.Wait(); close(ended) }()
	timer := time.NewTimer(shutTimeout) // OnPressure may be what has called Close
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	}
	return true
}

// end cancels what runs and waits for it.
func (b *background) end() {
	b.mu.Lock()
	b.endAll()
	b.mu.Unlock()
	b.wg.Wait()
}

// backoff doubles from least to most; each wait is spread over its upper half, so that many
// processes do not ask at once.
type backoff struct{ least, most, last time.Duration }

func (b *backoff) next() time.Duration {
	b.last = min(max(b.least, 2*b.last), b.most)
	return b.last/2 + rand.N(b.last/2)
}

// sleep waits, and says why it did not.
func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
