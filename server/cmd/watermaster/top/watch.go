package top

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// What a watcher tells.
type (
	// heard is a message of the server.
	heard struct{ headroom *pb.Headroom }
	// lost says that there is no connection; it is tried again.
	lost struct{ err error }
	// ended says that trying again does not help.
	ended struct{ err error }
)

// A watcher keeps a stream of headroom open.
type watcher struct {
	client  pb.MonitorServiceClient
	request *pb.WatchHeadroomRequest
	tell    func(tea.Msg)
}

// run reads until the context ends, or something is wrong that does not pass.
func (w *watcher) run(ctx context.Context) {
	var b backoff
	for {
		err := w.read(ctx, &b)
		if ctx.Err() != nil {
			return
		}
		if !passes(err) {
			w.tell(ended{err})
			return
		}
		w.tell(lost{err})
		if !b.wait(ctx) {
			return
		}
	}
}

// read reads one stream to its end.
func (w *watcher) read(ctx context.Context, b *backoff) error {
	stream, err := w.client.WatchHeadroom(ctx, w.request)
	if err != nil {
		return err
	}
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return status.Error(codes.Unavailable, "the server has ended the stream")
		}
		if err != nil {
			return err
		}
		b.reset()
		w.tell(heard{answer.GetHeadroom()})
	}
}

// passes says whether an error may be gone when it is tried again: the server restarts, or
// protects itself.
func passes(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded, codes.Aborted, codes.Internal, codes.Canceled:
		return true
	}
	return false
}

// A backoff is the time between two tries. Its zero value is ready.
type backoff struct{ next time.Duration }

const (
	firstBackoff = 250 * time.Millisecond
	maxBackoff   = 4 * time.Second
)

func (b *backoff) reset() { b.next = 0 }

// wait waits, longer each time; false says that the context has ended.
func (b *backoff) wait(ctx context.Context) bool {
	b.next = min(max(2*b.next, firstBackoff), maxBackoff)
	return sleep(ctx, b.next)
}

// sleep waits; false says that the context has ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Reason gives the part of an error that tells an operator most: gRPC wraps what the
// system says in three layers.
func Reason(err error) string {
	text := status.Convert(err).Message()
	if _, quoted, ok := strings.Cut(text, "desc = "); ok {
		if inner, err := strconv.Unquote(quoted); err == nil {
			text = inner
		}
	}
	text = strings.TrimPrefix(text, "transport: ")
	return strings.TrimPrefix(text, "Error while dialing: ")
}
