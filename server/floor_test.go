package server

import (
	"context"
	"sync"

	goredis "github.com/redis/go-redis/v9"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
)

// A floor is what a decision over Redis costs at least: calls that do nothing but go into a
// batch together, which is appended to a stream and read back by one transaction. Nothing is
// decided, and nothing made sure of.
type floor struct {
	redis *goredis.Client
	last  string // id of the last entry

	mu        sync.Mutex
	leading   bool
	gathering []chan bool // true: lead the next batch
}

const floorMethod = "/watermaster.bench.Floor/Call"

// floorCommand is as long as a decision's commands are.
var floorCommand = make([]byte, 120)

// newFloor makes one over the server at a URL.
func newFloor(url string) (*floor, error) {
	o, err := goredis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.Protocol = 2
	return &floor{redis: goredis.NewClient(o), last: "0-0"}, nil
}

func (f *floor) service() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "watermaster.bench.Floor",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(srv any, ctx context.Context, dec func(any) error, chain grpc.UnaryServerInterceptor) (any, error) {
			in := new(emptypb.Empty)
			if err := dec(in); err != nil {
				return nil, err
			}
			return chain(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: floorMethod},
				func(ctx context.Context, _ any) (any, error) { return new(emptypb.Empty), f.call(ctx) })
		}}},
	}
}

// call goes into a batch, and leads it if nobody else does.
func (f *floor) call(ctx context.Context) error {
	own := make(chan bool, 1)
	f.mu.Lock()
	f.gathering = append(f.gathering, own)
	lead := !f.leading
	f.leading = true
	f.mu.Unlock()
	if !lead && !<-own {
		return nil
	}
	f.mu.Lock()
	batch := f.gathering
	f.gathering = nil
	f.mu.Unlock()
	err := f.append(ctx, len(batch))
	f.mu.Lock()
	if f.leading = len(f.gathering) > 0; f.leading {
		f.gathering[0] <- true
	}
	f.mu.Unlock()
	for _, c := range batch {
		if c != own {
			c <- false
		}
	}
	return err
}

func (f *floor) append(ctx context.Context, commands int) error {
	var payload []byte
	for range commands {
		payload = append(payload, floorCommand...)
	}
	pipe := f.redis.TxPipeline()
	pipe.XAdd(ctx, &goredis.XAddArgs{Stream: "floor", MaxLen: 1000, Approx: true, Values: []any{"e", payload}})
	read := pipe.XRange(ctx, "floor", f.last, "+")
	if _, err := pipe.Exec(ctx); err != nil {
		return err
	}
	list := read.Val()
	f.last = list[len(list)-1].ID
	return nil
}
