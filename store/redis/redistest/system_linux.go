package redistest

import "syscall"

// dieWithUs sees to it that nothing outlives a test that is killed.
func dieWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
