package file_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// child says what a process that a test has started does; it gets the directory.
var child = map[string]func(dir string){}

const childVariable = "WATERMASTER_FILE_TEST_CHILD"

func TestMain(m *testing.M) {
	if do := child[os.Getenv(childVariable)]; do != nil {
		do(os.Args[1])
		return
	}
	goleak.VerifyTestMain(m)
}
