package main

import (
	"fmt"
	"net"

	"github.com/watermaster-project/watermaster/server/config"
)

// checkBinds refuses addresses that others can reach, unless what is served there is
// encrypted and asks who calls, or it is wanted as it is.
func checkBinds(f *serveFlags, cfg *config.Config) error {
	for _, b := range []struct{ flag, address string }{{"--grpc", f.grpc}, {"--http", f.http}, {"--pprof", f.pprof}} {
		if b.address == "" && b.flag != "--grpc" {
			continue
		}
		if _, _, err := net.SplitHostPort(b.address); err != nil {
			return fmt.Errorf("%s: %w", b.flag, err)
		}
		if isLoopback(b.address) || f.insecure {
			continue
		}
		reachable := fmt.Sprintf("%s %s can be reached from other machines", b.flag, b.address)
		switch {
		case b.flag == "--pprof":
			return fmt.Errorf("%s, and profiles are for nobody else: bind a loopback address, or say --insecure", reachable)
		case f.tlsCert == "":
			return fmt.Errorf("%s, and nothing is encrypted: give --tls-cert and --tls-key, bind a loopback address, or say --insecure", reachable)
		case len(cfg.Credentials) == 0 && f.tlsClients == "":
			return fmt.Errorf("%s, and nobody is asked who calls: give `credentials` in the configuration or --tls-client-ca, "+
				"bind a loopback address, or say --insecure", reachable)
		}
	}
	return nil
}
