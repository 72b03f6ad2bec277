package server

import (
	"os"
	"runtime/pprof"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if o := os.Getenv(remoteVariable); o != "" {
		serveRemote(o)
	}
	if o := os.Getenv(loadVariable); o != "" {
		sendLoad(o)
	}
	goleak.VerifyTestMain(m)
}

// profileBench writes a profile of the server's process where WATERMASTER_BENCH_PROFILE says.
func profileBench() (stop func()) {
	path := os.Getenv("WATERMASTER_BENCH_PROFILE")
	if path == "" {
		return func() {}
	}
	f, err := os.Create(path)
	if err != nil {
		panic(err)
	}
	_ = pprof.StartCPUProfile(f)
	return func() {
		pprof.StopCPUProfile()
		f.Close()
		if m, err := os.Create(path + ".allocs"); err == nil {
			_ = pprof.Lookup("allocs").WriteTo(m, 0)
			m.Close()
		}
	}
}
