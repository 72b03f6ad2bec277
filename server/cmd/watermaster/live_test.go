package main

import (
	"net"
	"testing"

	"google.golang.org/grpc"

	"github.com/watermaster-project/watermaster/server"
	"github.com/watermaster-project/watermaster/server/config"
	"github.com/watermaster-project/watermaster/store/memory"
)

// A live server serves the quickstart's configuration in this process.
type live struct {
	address string
	server  *server.Server
	grpc    *grpc.Server
	stop    func() // at once, as when it is killed; again does nothing
}

// startLive serves on an address until the test ends. Port 0 is any that is free.
func startLive(t *testing.T, address string, more ...grpc.ServerOption) *live {
	t.Helper()
	cfg, err := config.Load(quickstart)
	if err != nil {
		t.Fatal(err)
	}
	log := memory.Open(memory.Options{})
	s, err := server.New(t.Context(), server.Options{Config: cfg, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l := &live{address: listener.Addr().String(), server: s, grpc: s.NewGRPC(more...)}
	ended := make(chan error, 1)
	go func() { ended <- l.grpc.Serve(listener) }()
	stopped := false
	l.stop = func() {
		if stopped {
			return
		}
		stopped = true
		l.grpc.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
		if err := log.Close(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(l.stop)
	return l
}

// closedPort is an address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}
