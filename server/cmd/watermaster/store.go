package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/watermaster-project/watermaster/store/redis"
)

// storeFlags say how Redis is reached.
type storeFlags struct {
	url          string
	user         string
	passwordFile string
	tls          redis.TLS
	timeout      time.Duration
}

// storePassword has the password of the store, where neither the URL nor a file has it. It is
// no flag: those can be seen by whoever lists processes.
const storePassword = environmentPrefix + "STORE_PASSWORD"

func (f *storeFlags) register(flags *pflag.FlagSet, use string) {
	flags.StringVar(&f.url, "store", "", use+":\n"+
		"redis://[USER@]HOST[:PORT][/DATABASE], redis+sentinel://HOST[:PORT],…/MASTER or\n"+
		"redis+cluster://HOST[:PORT],…; with TLS rediss://, rediss+sentinel:// and rediss+cluster://")
	flags.StringVar(&f.user, "store-user", "", "the `NAME` of the user there, where --store has none")
	flags.StringVar(&f.passwordFile, "store-password-file", "", "the `FILE` with the user's password (default the password in "+storePassword+")")
	flags.StringVar(&f.tls.CA, "store-ca", "", "check the store's certificate against the authorities in a PEM `FILE`, rather than the system's")
	flags.StringVar(&f.tls.Certificate, "store-cert", "", "show the store the certificate in a PEM `FILE` …")
	flags.StringVar(&f.tls.Key, "store-key", "", "… whose private key is in this PEM `FILE`")
	flags.StringVar(&f.tls.ServerName, "store-server-name", "", "the `NAME` that the store's certificate is for (default its host)")
	flags.DurationVar(&f.timeout, "store-timeout", 100*time.Millisecond, "how long the store may take for a batch of decisions before it counts as away; states have ten times as long")
}

// validate says what is wrong with the flags.
func (f *storeFlags) validate() error {
	var all []error
	fail := func(text string) { all = append(all, errors.New(text)) }
	if f.url == "" {
		if f.user != "" || f.passwordFile != "" || f.tls != (redis.TLS{}) {
			fail("--store-user, --store-password-file, --store-ca, --store-cert, --store-key and --store-server-name say how --store is reached: give that, too")
		}
		return errors.Join(all...)
	}
	if (f.tls.Certificate == "") != (f.tls.Key == "") {
		fail("--store-cert and --store-key go together")
	}
	if f.tls != (redis.TLS{}) && !strings.HasPrefix(f.url, "rediss") {
		fail("--store-ca, --store-cert, --store-key and --store-server-name are for TLS: write rediss for redis in --store")
	}
	if f.passwordFile != "" && f.name() != f.url {
		fail("--store has a password, and --store-password-file another: leave the first out, which whoever lists processes can see")
	}
	if f.timeout < time.Millisecond {
		fail("--store-timeout is at least 1ms")
	}
	return errors.Join(all...)
}

// name is what the store is called in what people read: its URL without the password.
func (f *storeFlags) name() string { return redis.Redact(f.url) }

// password gives that of a file or of the environment; "": there is none.
func (f *storeFlags) password() (string, error) {
	if f.passwordFile == "" {
		return os.Getenv(storePassword), nil
	}
	text, err := os.ReadFile(f.passwordFile)
	if err != nil {
		return "", fmt.Errorf("--store-password-file: %w", err)
	}
	password := strings.TrimRight(string(text), "\r\n")
	if password == "" {
		return "", fmt.Errorf("--store-password-file %s: it is empty", f.passwordFile)
	}
	return password, nil
}

// options are what redis.Open takes beside the URL.
func (f *storeFlags) options(logger *slog.Logger) (redis.Options, error) {
	password, err := f.password()
	return redis.Options{Timeout: f.timeout, User: f.user, Password: password, TLS: f.tls, Logger: logger}, err
}

// open opens the store, once.
func (f *storeFlags) open(ctx context.Context, logger *slog.Logger) (*redis.Log, error) {
	o, err := f.options(logger)
	if err != nil {
		return nil, err
	}
	l, err := redis.Open(ctx, f.url, o)
	if err != nil {
		return nil, fmt.Errorf("--store %s: %w", f.name(), err)
	}
	return l, nil
}

// lasting are the findings of redis.Examine that no time cures.
var lasting = []string{"version", "mode", "permissions", "commands", "connection"}

// unfit says what makes that a store which answers can never be used; nil: nothing that is
// known.
func (f *storeFlags) unfit(ctx context.Context, logger *slog.Logger) error {
	var all []error
	for _, r := range f.examine(ctx, logger) {
		if r.Level == redis.Fail && slices.Contains(lasting, r.What) {
			all = append(all, fmt.Errorf("--store %s: %s: %s: %s", f.name(), r.What, r.Found, r.Change))
		}
	}
	return errors.Join(all...)
}

// warn logs what a store has otherwise than it should be, and what to do about it.
func (f *storeFlags) warn(ctx context.Context, logger *slog.Logger) {
	for _, r := range f.examine(ctx, logger) {
		if r.Level >= redis.Warn && ctx.Err() == nil {
			logger.Warn("the store is not as it should be", "what", r.What, "found", r.Found, "change", r.Change, "where", r.Where)
		}
	}
}

// examine looks at the store. It says nothing if it cannot even begin to: opening says why.
func (f *storeFlags) examine(ctx context.Context, logger *slog.Logger) redis.Report {
	o, err := f.options(logger)
	if err != nil {
		return nil
	}
	report, err := redis.Examine(ctx, f.url, o)
	if err != nil {
		return nil
	}
	return report
}

// hidePassword writes the arguments of a process as they may be shown.
func hidePassword(w io.Writer, args []string) {
	for i, a := range args {
		if i > 0 {
			a = "\x00" + redis.Redact(a)
		}
		_, _ = io.WriteString(w, a) // whoever asked is gone
	}
}
