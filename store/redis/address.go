package redis

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// An address is what a URL says.
type address struct {
	hosts          []string // host:port, at least one
	user, password string
	tls            bool
	cluster        bool
	master         string // its name at the sentinels; "": there are none
	database       int
}

const forms = "redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE], redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/MASTER[/DATABASE] or " +
	"redis+cluster://[USER:PASSWORD@]HOST[:PORT],…; rediss for TLS"

// parseAddress reads a URL. Its errors do not repeat it, for it may hold a password.
func parseAddress(text string) (address, error) {
	a, err := readAddress(text)
	if err != nil {
		return a, fmt.Errorf("redis: the URL %w; it is %s", err, forms)
	}
	return a, nil
}

func readAddress(text string) (a address, err error) {
	scheme, rest, ok := strings.Cut(text, "://")
	kind, port := "", "6379"
	if ok {
		scheme, kind, _ = strings.Cut(scheme, "+")
	}
	switch {
	case !ok || scheme != "redis" && scheme != "rediss":
		return a, errors.New("is of another kind")
	case kind == "cluster":
		a.cluster = true
	case kind == "sentinel":
		port = "26379"
	case kind != "":
		return a, errors.New("is of another kind")
	}
	a.tls = scheme == "rediss"

	authority, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(rest, "?#") {
		return a, errors.New("has a query or fragment")
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		if a.user, err = url.PathUnescape(user); err == nil {
			a.password, err = url.PathUnescape(password)
		}
		if err != nil {
			return a, errors.New("has a user or password with a % that is no escape: write %25")
		}
		authority = authority[i+1:]
	}
	for host := range strings.SplitSeq(authority, ",") {
		if host, err = withPort(host, port); err != nil {
			return a, err
		}
		a.hosts = append(a.hosts, host)
	}
	if kind == "" && len(a.hosts) > 1 {
		return a, errors.New("has several hosts and is neither of a cluster nor of sentinels")
	}

	if kind == "sentinel" {
		a.master, path, _ = strings.Cut(path, "/")
		if a.master == "" {
			return a, errors.New("does not name the master")
		}
	}
	if path == "" {
		return a, nil
	}
	if a.database, err = strconv.Atoi(path); err != nil || a.database < 0 || a.cluster {
		return a, errors.New("has a path that is no database")
	}
	return a, nil
}

// withPort adds a port to a host that has none.
func withPort(host, port string) (string, error) {
	h, p, err := net.SplitHostPort(host)
	if err != nil {
		h, p = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), port
		if strings.Contains(h, ":") != strings.HasPrefix(host, "[") {
			return "", errors.New("has a host that cannot be read")
		}
	}
	if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
		return "", errors.New("has a port that is none")
	}
	if h == "" {
		return "", errors.New("has no host")
	}
	return net.JoinHostPort(h, p), nil
}

// options are those of all clients. Nothing is ever repeated by them but what a cluster's
// node did not do, because it is another's: a repeated batch could be in the log twice, and
// it is for the caller to know.
func (a address) options(o *Options) (*goredis.UniversalOptions, error) {
	u := &goredis.UniversalOptions{
		Addrs:      a.hosts,
		DB:         a.database,
		Protocol:   2,
		MasterName: a.master,

		MaxRetries:            -1,
		DialerRetries:         1,
		DialTimeout:           o.Timeout,
		ReadTimeout:           longTimeouts * o.Timeout, // a call's context has its own
		WriteTimeout:          longTimeouts * o.Timeout,
		PoolTimeout:           o.Timeout,
		ContextTimeoutEnabled: true,

		PoolSize:         o.Connections,
		MaxActiveConns:   o.Connections,
		PipelinePoolSize: -1,

		DisableIdentity:          true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
	u.Username, u.Password = cmp.Or(a.user, o.User), cmp.Or(a.password, o.Password)
	if a.tls {
		c, err := o.TLS.config()
		if err != nil {
			return nil, err
		}
		u.TLSConfig = c
	} else if o.TLS != (TLS{}) {
		return nil, errors.New("redis: there are files for TLS, and the URL does not begin with rediss")
	}
	return u, nil
}

// connect makes the client of a log.
func (a address) connect(o *Options) (*client, error) {
	u, err := a.options(o)
	if err != nil {
		return nil, err
	}
	c := &client{timeout: o.Timeout}
	dial := goredis.NewDialer(&goredis.Options{DialTimeout: u.DialTimeout, TLSConfig: u.TLSConfig})
	if a.cluster {
		cluster := u.Cluster()
		cluster.NewClient = func(each *goredis.Options) *goredis.Client {
			n := c.node(each.Addr, goredis.NewDialer(each))
			each.Dialer, each.OnConnect = n.connect, n.greet
			return goredis.NewClient(each)
		}
		c.redis = goredis.NewClusterClient(cluster)
	} else {
		n := c.node("", dial)
		u.Dialer, u.OnConnect = n.connect, n.greet
		c.redis = goredis.NewUniversalClient(u)
	}
	c.listener.init(c.redis, o.Timeout)
	return c, nil
}
