package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
)

//go:embed config.yaml
var configuration []byte

// A stage is Redis and the replicas before it.
type stage struct {
	dir      string
	redis    *process
	replicas []*process
}

// errNoRedis says how to get what is needed.
var errNoRedis = errors.New("redis-server is not in the PATH: install it (Debian, Ubuntu: apt-get install redis-server; " +
	"macOS: brew install redis; Fedora: dnf install redis), 7 or later")

// newStage builds the watermaster unless binary names one, and starts everything in a directory.
func newStage(ctx context.Context, dir, binary string, replicas int) (s *stage, err error) {
	server, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, errNoRedis
	}
	if binary == "" {
		binary = filepath.Join(dir, "watermaster")
		build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/watermaster-project/watermaster/server/cmd/watermaster")
		if out, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("build the watermaster: %w\n%s", err, out)
		}
	}
	config := filepath.Join(dir, "config.yaml")
	if err := os.WriteFile(config, configuration, 0o600); err != nil {
		return nil, err
	}
	s = &stage{dir: dir}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	s.redis = &process{name: "redis", address: address, dir: dir, command: []string{
		server, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", "everysec",
		"--maxmemory-policy", "noeviction",
	}}
	if err := s.redis.start(ctx); err != nil {
		return nil, err
	}
	for i := range replicas {
		at, err := freeAddress()
		if err != nil {
			return nil, err
		}
		p := &process{name: fmt.Sprintf("replica-%d", i+1), address: at, dir: dir, command: []string{
			binary, "serve", "--config", config, "--grpc", at, "--http", "", "--store", "redis://" + address,
		}}
		s.replicas = append(s.replicas, p)
		if err := p.start(ctx); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func (s *stage) addresses() (all []string) {
	for _, p := range s.replicas {
		all = append(all, p.address)
	}
	return all
}

// up counts the replicas that run.
func (s *stage) up() (n int) {
	for _, p := range s.replicas {
		if p.up.Load() {
			n++
		}
	}
	return n
}

// close ends everything.
func (s *stage) close() {
	for _, p := range s.replicas {
		p.kill()
	}
	if s.redis != nil {
		s.redis.kill()
	}
}
