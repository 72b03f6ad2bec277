package redis

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"
)

// A Redis server is known by its run id and its replication id: as it has run since it was
// started or promoted. Each connection has the two for its name, so that each answer can
// say from whom it is.
//
// A server that was demoted and promoted again behind an open connection keeps its
// identity there. What it lost meanwhile, it lost to a full copy of the other's data: whose
// last entry is gone notices.
const identityPrefix = "watermaster-"

// identify asks a new connection's server who it is, and names the connection. sentinel: it
// is one, which is only asked for its master, and has no identity.
func identify(ctx context.Context, c *goredis.Conn) (identity string, sentinel bool, err error) {
	pipe := c.Pipeline()
	server, replication := pipe.Info(ctx, "server"), pipe.Info(ctx, "replication")
	if _, err := pipe.Exec(ctx); err != nil {
		return "", false, fmt.Errorf("ask for the server's identity: %w", err)
	}
	if infoField(server.Val(), "redis_mode") == "sentinel" {
		return "", true, nil
	}
	if infoField(replication.Val(), "role") == "slave" {
		return "", false, errReplica
	}
	run, id := infoField(server.Val(), "run_id"), infoField(replication.Val(), "master_replid")
	if run == "" || id == "" {
		return "", false, errors.New("the server does not say who it is: INFO has no run_id or master_replid")
	}
	digest := sha256.Sum256([]byte(run + "\n" + id))
	identity = identityPrefix + hex.EncodeToString(digest[:12])
	if err := c.ClientSetName(ctx, identity).Err(); err != nil {
		return "", false, fmt.Errorf("name the connection: %w", err)
	}
	return identity, false, nil
}

var errReplica = errors.New(replicaAdvice)

// infoField gives a field of what INFO answers.
func infoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// identityOf reads what CLIENT GETNAME answers.
func identityOf(reply any) (string, error) {
	s, _ := reply.(string)
	if !strings.HasPrefix(s, identityPrefix) {
		return "", errors.New("the connection has lost its name: is there a proxy between us and Redis that shares connections?")
	}
	return s, nil
}
