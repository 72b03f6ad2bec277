package top

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"

	pb "github.com/watermaster-project/watermaster/proto/watermaster/v1"
)

// Live says what is shown on a terminal.
type Live struct {
	Client  pb.MonitorServiceClient
	Request *pb.WatchHeadroomRequest
	// The state to begin with: its address, order, palette and zone.
	State State
	// The terminal. Keys come from standard input, or from /dev/tty if that is something else.
	Output io.Writer
}

// Run shows limits on a terminal until it is told to quit, by a key, SIGINT, SIGTERM or the
// context: then there is no error. Errors are those of the server that do not pass
// when it is asked again, and of the terminal, which is restored in any case.
func (l Live) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	program := tea.NewProgram(model{state: l.State, now: time.Now}, tea.WithContext(ctx), tea.WithOutput(l.Output))
	w := watcher{client: l.Client, request: l.Request, tell: program.Send}
	var watching sync.WaitGroup
	watching.Go(func() { w.run(ctx) })
	last, err := program.Run()
	told := ctx.Err() != nil || errors.Is(err, tea.ErrInterrupted)
	stop()
	watching.Wait()
	if m, ok := last.(model); ok && m.err != nil {
		return m.err
	}
	if told {
		return nil
	}
	return err
}
