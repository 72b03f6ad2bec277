package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/watermaster-project/watermaster/server/certificate"
)

// dialFlags say how a command reaches a running server.
type dialFlags struct {
	address    string
	tls        bool
	ca         string
	cert, key  string
	serverName string
	keyFile    string
	insecure   bool
}

// keyVariable has the credential's key, where no file has it. It is no flag: those can be
// seen by whoever lists processes.
const keyVariable = environmentPrefix + "KEY"

const dialHelp = `The server is reached in the clear unless a --tls flag is given. A credential's key is read from
--key-file or WATERMASTER_KEY, and is not sent in the clear beyond this machine.`

func (f *dialFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.address, "address", "127.0.0.1:8081", "`HOST:PORT` of the server's gRPC")
	flags.BoolVar(&f.tls, "tls", false, "encrypt, and check the server against the system's authorities")
	flags.StringVar(&f.ca, "tls-ca", "", "encrypt, and check the server against the authorities in a PEM `FILE`")
	flags.StringVar(&f.cert, "tls-client-cert", "", "show the server the certificate in a PEM `FILE` …")
	flags.StringVar(&f.key, "tls-client-key", "", "… whose private key is in this PEM `FILE`")
	flags.StringVar(&f.serverName, "tls-server-name", "", "the `NAME` that the server's certificate is for (default the host of --address)")
	flags.StringVar(&f.keyFile, "key-file", "", "the `FILE` with the credential's key (default the key in "+keyVariable+")")
	flags.BoolVar(&f.insecure, "insecure", false, "send the key in the clear beyond this machine")
}

// A client connects anew within this time: less patient than gRPC's two minutes, as
// somebody is looking.
const maxReconnect = 2 * time.Second

// dial makes a connection. It connects when it is used, so that errors are those of the flags alone.
func (f *dialFlags) dial() (*grpc.ClientConn, error) {
	if err := checkAddress(f.address); err != nil {
		return nil, err
	}
	security, err := f.security()
	if err != nil {
		return nil, err
	}
	key, err := f.credential()
	if err != nil {
		return nil, err
	}
	connect := grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 5 * time.Second}
	connect.Backoff.BaseDelay, connect.Backoff.MaxDelay = 100*time.Millisecond, maxReconnect
	options := []grpc.DialOption{
		grpc.WithConnectParams(connect),
		grpc.WithUserAgent("watermaster/" + version()),
		// A server that vanished without a word is noticed.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 20 * time.Second, Timeout: 5 * time.Second}),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxAnswer)),
	}
	if security == nil {
		if key != "" && !f.insecure && !isLoopback(f.address) {
			return nil, fmt.Errorf("--address %s: the key would go there unencrypted: give --tls or --tls-ca, or say --insecure", f.address)
		}
		security = insecure.NewCredentials()
	}
	options = append(options, grpc.WithTransportCredentials(security))
	if key != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer{key}))
	}
	conn, err := grpc.NewClient(f.address, options...)
	if err != nil {
		return nil, fmt.Errorf("--address %s: %w", f.address, err)
	}
	return conn, nil
}

// maxAnswer is more than the headroom of ten thousand limits.
const maxAnswer = 64 << 20

// security is nil where nothing is encrypted.
func (f *dialFlags) security() (credentials.TransportCredentials, error) {
	if (f.cert == "") != (f.key == "") {
		return nil, errors.New("--tls-client-cert and --tls-client-key: a certificate needs its private key, so give both")
	}
	if !f.tls && f.ca == "" && f.cert == "" && f.serverName == "" {
		return nil, nil
	}
	c, err := certificate.ClientConfig(f.ca, f.cert, f.key, f.serverName, nil)
	if err != nil {
		return nil, fmt.Errorf("--tls-ca, --tls-client-cert, --tls-client-key: %w", err)
	}
	return credentials.NewTLS(c), nil
}

// credential gives the key, or "" where there is none.
func (f *dialFlags) credential() (string, error) {
	key, from := os.Getenv(keyVariable), keyVariable
	if f.keyFile != "" {
		text, err := os.ReadFile(f.keyFile)
		if err != nil {
			return "", fmt.Errorf("--key-file: %w", err)
		}
		key, from = string(text), "--key-file "+f.keyFile
		if strings.TrimSpace(key) == "" {
			return "", fmt.Errorf("%s: it is empty", from)
		}
	}
	key = strings.TrimSpace(key)
	for _, c := range []byte(key) {
		if c <= ' ' || c >= 0x7f {
			return "", fmt.Errorf("%s: a key is one word of ASCII letters, digits and signs", from)
		}
	}
	return key, nil
}

// bearer sends a key with every call.
type bearer struct{ key string }

// GetRequestMetadata implements credentials.PerRPCCredentials.
func (b bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + b.key}, nil
}

// RequireTransportSecurity implements credentials.PerRPCCredentials: dial has checked it.
func (bearer) RequireTransportSecurity() bool { return false }

const unixScheme = "unix:"

// checkAddress refuses what gRPC would take for something else.
func checkAddress(address string) error {
	if path, ok := strings.CutPrefix(address, unixScheme); ok && path != "" {
		return nil
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || port == "" || strings.Contains(host, "/") {
		return fmt.Errorf("--address %q: write HOST:PORT, such as 127.0.0.1:8081, or unix:PATH", address)
	}
	return nil
}

// isLoopback says whether an address is on this machine for certain.
func isLoopback(address string) bool {
	if strings.HasPrefix(address, unixScheme) {
		return true
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
