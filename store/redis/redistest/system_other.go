//go:build !linux

package redistest

import "syscall"

func dieWithUs() *syscall.SysProcAttr { return nil }

func killAll(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }
