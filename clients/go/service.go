package watermaster

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	watermasterv1 "github.com/watermaster-project/watermaster/clients/go/watermaster/v1"
)

// healthTimeout bounds one question after an address's health.
const healthTimeout = time.Second

// service is the addresses that are asked, any of which will do: the one with the least calls in
// flight that is not down.
type service struct {
	limiter *Limiter
	dial    []grpc.DialOption

	mu        sync.Mutex
	addresses []*address
	turn      int // where the search for the least loaded begins
	closed    bool
}

// address is one connection. Its mutable fields are guarded by service.mu.
type address struct {
	name    string
	conn    *grpc.ClientConn // nil until it is first used
	limiter watermasterv1.LimiterServiceClient

	calls  int
	down   bool // did not answer; its health is asked after
	silent bool // did not even refuse: a call to it would take all of its time
	check  *time.Timer
	wait   backoff
}

func newService(l *Limiter, names []string) *service {
	secure := insecure.NewCredentials()
	if l.options.TLS != nil {
		secure = credentials.NewTLS(l.options.TLS)
	}
	s := &service{limiter: l, dial: []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithUserAgent("watermaster-go/" + version),
		grpc.WithDisableServiceConfig(),
		// One that is back should be found back soon.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           grpcbackoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: .2, MaxDelay: time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
		// The service allows a ping in 10 s.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
	}}
	if l.options.Token != "" {
		s.dial = append(s.dial, grpc.WithPerRPCCredentials(bearer("Bearer "+l.options.Token)))
	}
	s.dial = append(s.dial, l.options.DialOptions...)
	for _, name := range names {
		s.addresses = append(s.addresses, &address{name: name})
	}
	return s
}

// bearer sends the token. Whether it may go in plaintext was decided by Options.validate.
type bearer string

func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": string(b)}, nil
}

func (bearer) RequireTransportSecurity() bool { return false }

// call makes an RPC that the service answers at once.
func (s *service) call(ctx context.Context, rpc func(ctx context.Context, a *address) error) error {
	return s.callWithin(ctx, answerWithin, false, rpc)
}

// callWithin makes an RPC at one address and, where it does not answer, at each of the others in
// turn; when it should be quick, not at those that are silent. The error is the last one's; the
// caller's context's if that has ended.
func (s *service) callWithin(ctx context.Context, timeout time.Duration, quick bool, rpc func(ctx context.Context, a *address) error) error {
	if _, has := metadata.FromOutgoingContext(ctx); has { // it is for somebody else, and may have a credential
		ctx = metadata.NewOutgoingContext(ctx, nil)
	}
	var tried []*address
	err := errSilent
	for {
		a, pickErr := s.pick(tried, quick)
		if a == nil {
			return first(pickErr, err)
		}
		within, cancel := context.WithTimeout(ctx, timeout)
		err = rpc(within, a)
		cancel()
		if ended := over(ctx, err); ended != nil {
			s.done(a)
			return ended
		}
		if !unanswered(err) {
			s.answered(a)
			return err
		}
		s.failed(a, status.Code(err) == codes.DeadlineExceeded)
		tried = append(tried, a)
	}
}

var errSilent = status.Error(codes.Unavailable, "no address answers")

// unanswered says whether the service, rather than the request, is at fault. A proxy cancels what
// it cannot deliver; the caller's own end is seen before.
func unanswered(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	return false
}

// over is the context's error if that is why a call failed. The service may find the deadline
// passed a little before the caller's clock does; it is waited for, so that all see it.
func over(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if deadline, ok := ctx.Deadline(); ok && status.Code(err) == codes.DeadlineExceeded && time.Until(deadline) < 100*time.Millisecond {
		<-ctx.Done()
	}
	return ctx.Err()
}

// pick takes the least loaded of the addresses that are up and not yet tried, else of those down;
// nil when all are tried.
func (s *service) pick(tried []*address, quick bool) (*address, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	var best *address
	turn, n := 0, len(s.addresses)
	for i := range n {
		at := (s.turn + i) % n
		a := s.addresses[at]
		if quick && a.silent || among(tried, a) {
			continue
		}
		if best == nil || a.worse() < best.worse() || a.worse() == best.worse() && a.calls < best.calls {
			best, turn = a, at+1
		}
	}
	if best == nil {
		return nil, nil
	}
	s.turn = turn
	if best.conn == nil {
		conn, err := grpc.NewClient(best.name, s.dial...)
		if err != nil {
			return nil, err
		}
		best.conn, best.limiter = conn, watermasterv1.NewLimiterServiceClient(conn)
	}
	best.calls++
	return best, nil
}

// worse orders addresses before the load does: up, down, silent.
func (a *address) worse() int {
	switch {
	case a.silent:
		return 2
	case a.down:
		return 1
	}
	return 0
}

func among(all []*address, a *address) bool {
	for _, b := range all {
		if a == b {
			return true
		}
	}
	return false
}

func (s *service) done(a *address) {
	s.mu.Lock()
	a.calls--
	s.mu.Unlock()
}

// answered notes that an address works.
func (s *service) answered(a *address) {
	if s.limiter.away.Load() {
		s.limiter.away.Store(false)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a.calls--
	s.up(a)
}

func (s *service) up(a *address) {
	if a.down {
		a.down, a.silent = false, false
		a.check.Stop()
	}
}

// failed notes that an address did not answer, and asks after its health until it does.
func (s *service) failed(a *address, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.calls--
	a.silent = silent
	if !a.down && !s.closed {
		a.down = true
		a.wait = backoff{least: 100 * time.Millisecond, most: 5 * time.Second}
		a.check = time.AfterFunc(a.wait.next(), func() { s.examine(a) })
	}
}

// examine asks an address after its health.
func (s *service) examine(a *address) {
	b := &s.limiter.background
	if !b.enter() {
		return
	}
	defer b.leave()
	ctx, cancel := context.WithTimeout(b.running, healthTimeout)
	defer cancel()
	answer, err := grpc_health_v1.NewHealthClient(a.conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	serves := answer.GetStatus() == grpc_health_v1.HealthCheckResponse_SERVING
	switch status.Code(err) {
	case codes.Unimplemented, codes.Unauthenticated, codes.PermissionDenied:
		serves = true // it answers, and calls will tell
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if serves {
		s.up(a)
	} else if a.down && !s.closed {
		a.check.Reset(a.wait.next())
	}
}

func (s *service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for _, a := range s.addresses {
		if a.check != nil {
			a.check.Stop()
		}
		if a.conn != nil {
			_ = a.conn.Close() // an error says that it is closed
		}
	}
}

// failure is what a caller gets for an error of service.call.
func (l *Limiter) failure(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		if l.background.asking.Err() != nil {
			return ErrClosed
		}
		return first(ctx.Err(), err)
	case errors.Is(err, ErrClosed):
		return err
	case unanswered(err):
		return &Unavailable{Message: "the service cannot be reached: " + status.Convert(err).Message(), cause: err}
	}
	return &CallError{Code: status.Code(err), Message: status.Convert(err).Message()}
}
