package redistest

import "syscall"

// dieWithUs sees to it that nothing outlives a test that is killed.
func dieWithUs() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// killAll ends a process and its children: one that writes a snapshot would go on.
func killAll(pid int) { _ = syscall.Kill(-pid, syscall.SIGKILL) } // it may have ended
