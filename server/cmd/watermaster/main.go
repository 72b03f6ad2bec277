package main

import (
	"errors"
	"fmt"
	"os"
	_ "time/tzdata" // zones of calendar limits, also where the system has none
)

// errReported says that what went wrong has been printed already.
var errReported = errors.New("reported")

func main() {
	if err := newRoot().Execute(); err != nil {
		if !errors.Is(err, errReported) {
			fmt.Fprintln(os.Stderr, "watermaster:", err)
		}
		os.Exit(1)
	}
}
