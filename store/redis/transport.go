package redis

import (
	"context"
	"errors"
	"time"
)

// ErrOtherServer says that a Transport has met a server since the caller last made sure of
// what there is; nothing was sent.
var ErrOtherServer = errors.New("redis: another server answers")

// A Transport carries a Log's commands to Redis, and what processes tell each other. The
// default one is made of the URL; a simulation has its own.
//
// Its methods may be called concurrently, and none is called while the log holds a lock
// that what was given to Listen takes.
type Transport interface {
	// Known counts the servers that were met: it grows whenever a connection is made and
	// it is not, where it was made to, the server of the connection before. It does so
	// before anything is sent there.
	Known() uint64

	// Do sends commands in one transaction (MULTI), once, and gives their replies and who
	// answered: a string, different for each server and each time that it was started or
	// promoted. Arguments are strings, []byte and integers; replies are nil, string, int64
	// and []any of them. All keys are of one hash tag.
	//
	// ErrOtherServer: Known is not known any more; nothing was sent, and nothing will be.
	// With every other error the commands may have been executed, none or all.
	Do(ctx context.Context, timeout time.Duration, known uint64, commands [][]any) (replies []any, server string, err error)

	// Publish sends a message to who listens to a channel.
	Publish(ctx context.Context, channel, message string) error

	// Subscribe listens to a channel. It does not wait; where the connection was lost the
	// channel is subscribed to again.
	Subscribe(channel string)
	Unsubscribe(channel string)

	// Listen says who is told what comes; it is called once, before Subscribe. subscribed:
	// it is no message, but the channel is listened to from here on, or again.
	Listen(take func(channel, message string, subscribed bool))

	// Close ends it. Nothing comes after that.
	Close() error
}
