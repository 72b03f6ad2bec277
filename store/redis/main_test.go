package redis_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Nothing runs on after a log is closed.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
