package deploy

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	unitFile = "systemd/watermaster.service"
	dropIn   = "systemd/redis.conf"
)

// A unit is what a unit file sets: the values of a key in their order, by section and key.
type unit map[string][]string

// readUnit reads the unit and what is dropped in beside it.
func readUnit(t *testing.T, dropIns ...string) unit {
	t.Helper()
	u := unit{}
	for _, file := range append([]string{unitFile}, dropIns...) {
		u.read(t, file)
	}
	return u
}

func (u unit) read(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	section := ""
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", "")) {
		line = strings.TrimSpace(line)
		key, value, isSetting := strings.Cut(line, "=")
		switch {
		case line == "", line[0] == '#':
		case line[0] == '[':
			section = strings.Trim(line, "[]")
		case isSetting && value == "" && strings.HasPrefix(key, "Exec"): // what was there goes
			delete(u, section+"."+key)
		case isSetting:
			u[section+"."+key] = append(u[section+"."+key], value)
		default:
			t.Fatalf("%s: no setting: %q", file, line)
		}
	}
}

// one gives the value of a key that is there once.
func (u unit) one(t *testing.T, key string) string {
	t.Helper()
	if len(u[key]) != 1 {
		t.Fatalf("%s: %s is there %d times, want once", unitFile, key, len(u[key]))
	}
	return u[key][0]
}

// command makes what a line of the unit runs, with the paths of a test in place of the system's.
func (u unit) command(t *testing.T, s *site, line string) *exec.Cmd {
	t.Helper()
	credentials := t.TempDir()
	for _, c := range u["Service.LoadCredential"] {
		name, path, _ := strings.Cut(c, ":")
		b, err := os.ReadFile(s.path(strings.TrimPrefix(path, "/etc/watermaster/")))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(credentials, name), b, 0o400); err != nil {
			t.Fatal(err)
		}
	}
	given := map[string]string{
		"CONFIGURATION_DIRECTORY": s.path("config"),
		"STATE_DIRECTORY":         s.path("state"),
		"CREDENTIALS_DIRECTORY":   credentials,
	}
	words := strings.Fields(line)
	if words[0] == "/usr/local/bin/watermaster" {
		words[0] = watermaster(t)
	}
	for i := range words {
		words[i] = os.Expand(words[i], func(name string) string {
			if given[name] == "" {
				t.Errorf("%s: systemd gives no variable %s", line, name)
			}
			return given[name]
		})
	}
	return exec.Command(words[0], words[1:]...)
}

// TestUnitRuns starts what the unit starts, reloads it and ends it as systemd does.
func TestUnitRuns(t *testing.T) {
	skipIfShort(t)
	u, s := readUnit(t), newSite(t)
	p := start(t, s, u.command(t, s, u.one(t, "Service.ExecStart")))
	p.granted("a")
	healthcheck(t, exec.Command(watermaster(t), "healthcheck", "--address", p.grpc,
		"--tls-ca", s.path("tls", "ca.crt"), "--tls-server-name", "watermaster"))

	reload := u["Service.ExecReload"]
	if len(reload) != 2 || reload[1] != "/bin/kill -HUP $MAINPID" {
		t.Fatalf("ExecReload is %q, want a check and then SIGHUP", reload)
	}
	s.change(t, "requests: 10000/min", "requests: 10001/min")
	if out, err := u.command(t, s, reload[0]).CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s", reload[0], err, out)
	}
	p.signal(syscall.SIGHUP)
	p.wait("the configuration is in force")
	s.change(t, "requests: 10001/min", "requets: 10002/min")
	if out, err := u.command(t, s, reload[0]).CombinedOutput(); err == nil || !strings.Contains(string(out), "requests") {
		t.Errorf("a wrong configuration: %s: got %v: %s; want a failure that names requests", reload[0], err, out)
	}
	p.granted("b")
	p.stop(duration(t, u.one(t, "Service.TimeoutStopSec")))
}

// TestUnitAllowsTheDrain: calls that still run at the end are cut off by the server, and not
// killed with it.
func TestUnitAllowsTheDrain(t *testing.T) {
	u := readUnit(t)
	args := strings.Fields(u.one(t, "Service.ExecStart"))
	holdsGrace(t, args[1:], duration(t, u.one(t, "Service.TimeoutStopSec")))
}

func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestUnitIsHardened: what keeps a fault in the server from being one of the machine.
func TestUnitIsHardened(t *testing.T) {
	u := readUnit(t)
	for key, want := range map[string]string{
		"Type": "exec", "DynamicUser": "yes", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
		"PrivateTmp": "yes", "PrivateDevices": "yes", "MemoryDenyWriteExecute": "yes", "CapabilityBoundingSet": "",
		"RestrictAddressFamilies": "AF_INET AF_INET6", "RestrictNamespaces": "yes", "SystemCallArchitectures": "native",
		"StateDirectory": "watermaster", "ConfigurationDirectory": "watermaster",
	} {
		if got := u.one(t, "Service."+key); got != want {
			t.Errorf("%s is %q, want %q", key, got, want)
		}
	}
}

// TestUnitVerifies: systemd knows every key and value, and thinks little of the exposure.
func TestUnitVerifies(t *testing.T) {
	skipIfShort(t)
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze here (Debian package systemd): the unit is run, but not verified")
	}
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "watermaster.service")
	text = bytes.ReplaceAll(text, []byte("/usr/local/bin/watermaster"), []byte(watermaster(t)))
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	// An unknown key is a warning, and no error; so is what is wrong with units of this machine.
	out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "watermaster.service") {
			t.Errorf("verify: %s", line)
		}
	}
	if err != nil {
		t.Errorf("verify: %v: %s", err, out)
	}
	out, err = exec.Command(analyze, "security", "--offline=true", "--threshold=15", path).CombinedOutput()
	if err != nil {
		t.Errorf("security: the exposure is above 1.5: %v\n%s", err, out)
	}
}
