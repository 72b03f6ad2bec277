package deploy

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

func image(t *testing.T) dockerfile {
	t.Helper()
	d, err := readDockerfile("docker/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// A container is a directory that holds what the image does, and the files that are mounted into it.
type container struct {
	root        string
	uid, gid    uint32
	environment []string
	entry       []string // before every command
	chroot      bool     // commands run in it, as that user; else beside it, as this one
}

// newContainer makes the image's files as the Dockerfile's last stage copies them, and mounts
// a site's.
func newContainer(t *testing.T, s *site) *container {
	t.Helper()
	d := image(t)
	c := &container{root: s.path("root"), chroot: os.Geteuid() == 0}
	user, group, _ := strings.Cut(d.last("USER"), ":")
	for text, id := range map[string]*uint32{user: &c.uid, group: &c.gid} {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil || n == 0 {
			t.Fatalf("USER %s: want numbers, and not root's: a cluster cannot tell otherwise who a name is", d.last("USER"))
		}
		*id = uint32(n)
	}
	c.environment = strings.Fields(d.last("ENV"))
	var err error
	if c.entry, err = words(d.last("ENTRYPOINT")); err != nil {
		t.Fatal(err)
	}
	c.mount(t, s.path("config"), "/etc/watermaster")
	c.mount(t, s.path("tls"), "/etc/watermaster-tls")
	for _, line := range d.commands("", "COPY") {
		c.copy(t, line)
	}
	return c
}

// mount makes a directory of the machine one of the container.
func (c *container) mount(t *testing.T, dir, at string) {
	t.Helper()
	to := filepath.Join(c.root, at)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(dir, to); err != nil { // what is linked from outside is not seen inside
		t.Fatal(err)
	}
	if err := os.Symlink(to, dir); err != nil {
		t.Fatal(err)
	}
}

// copy does what a COPY from the building stage does: of the binary, and of a directory.
func (c *container) copy(t *testing.T, line string) {
	t.Helper()
	owned := false
	var paths []string
	for _, word := range strings.Fields(line) {
		switch option, value, _ := strings.Cut(word, "="); option {
		case "--from":
		case "--chown":
			owned = value == fmt.Sprintf("%d:%d", c.uid, c.gid)
		default:
			paths = append(paths, word)
		}
	}
	to := filepath.Join(c.root, paths[1])
	var err error
	switch filepath.Base(paths[0]) {
	case "watermaster":
		var b []byte
		if b, err = os.ReadFile(watermaster(t)); err == nil {
			err = os.WriteFile(to, b, 0o755)
		}
	case "state":
		err = os.Mkdir(to, 0o755)
	default:
		t.Fatalf("COPY %s: this test does not know what that is", line)
	}
	if err == nil && owned && c.chroot {
		err = os.Chown(to, int(c.uid), int(c.gid))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// command runs in the container what the image is told to.
func (c *container) command(args ...string) *exec.Cmd {
	if c.chroot {
		command := exec.Command(args[0], args[1:]...)
		command.Path, command.Err = args[0], nil // within the container
		command.Dir, command.Env = "/", c.environment
		command.SysProcAttr = &syscall.SysProcAttr{
			Chroot: c.root, Credential: &syscall.Credential{Uid: c.uid, Gid: c.gid},
		}
		return command
	}
	beside := regexp.MustCompile(`(^|=)/`)
	args = slices.Clone(args)
	for i := range args {
		args[i] = beside.ReplaceAllString(args[i], "${1}"+c.root+"/")
	}
	command := exec.Command(args[0], args[1:]...)
	for _, v := range c.environment {
		command.Env = append(command.Env, beside.ReplaceAllString(v, "${1}"+c.root+"/"))
	}
	return command
}

// TestImageRuns runs what the image runs, with no file but those that it copies and no right
// but an unprivileged user's, and asks it as HEALTHCHECK does.
func TestImageRuns(t *testing.T) {
	skipIfShort(t)
	d, s := image(t), newSite(t)
	c := newContainer(t, s)
	if !c.chroot {
		t.Log("only root may chroot: the binary runs beside the image's files, not within them")
	}
	args, err := words(d.last("CMD"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, s, c.command(append(c.entry, args...)...))
	p.granted("a")

	_, probe, _ := strings.Cut(d.last("HEALTHCHECK"), "CMD ")
	ask, err := words(probe)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.Index(ask, "--address")
	if i < 0 || !slices.Contains(args, "0.0.0.0"+strings.TrimPrefix(ask[i+1], "127.0.0.1")) {
		t.Fatalf("HEALTHCHECK asks %q, and the server is told %q: want the same port", ask, args)
	}
	ask[i+1] = p.grpc
	healthcheck(t, c.command(ask...))

	// The zone of the configuration's calendar limit, without any file of zones.
	if out, err := c.command(append(c.entry, "check", "/etc/watermaster/config.yaml")...).CombinedOutput(); err != nil {
		t.Errorf("check: %v: %s", err, out)
	}
	holdsState(t, filepath.Join(c.root, "state"))
	p.stop(patience)
}

// TestImageIsStatic: there is nothing in the image to link with.
func TestImageIsStatic(t *testing.T) {
	skipIfShort(t)
	if runtime.GOOS != "linux" {
		t.Skip("the image is for Linux")
	}
	f, err := elf.Open(watermaster(t))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary has a %v: it is not static", p.Type)
		}
	}
	if list, err := f.ImportedLibraries(); err != nil || len(list) > 0 {
		t.Errorf("the binary needs %v (%v)", list, err)
	}
}

// TestImage: what the Dockerfile says apart from what is run.
func TestImage(t *testing.T) {
	d := image(t)
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\S+)$`).FindSubmatch(module)
	if want := "golang:" + string(version[1]); d[0].image != want {
		t.Errorf("it is built with %s, and go.mod asks for %s", d[0].image, want)
	}
	if final := d[len(d)-1].image; final != "scratch" {
		t.Errorf("it ends from %s, want scratch", final)
	}
	args, err := words(d.last("CMD"))
	if err != nil {
		t.Fatal(err)
	}
	if state := d.last("VOLUME"); flagOf(args, "--state") != state {
		t.Errorf("the volume is %s, and the state is kept in %s", state, flagOf(args, "--state"))
	}
	for _, flag := range []string{"--grpc", "--http"} {
		if _, port, _ := strings.Cut(flagOf(args, flag), ":"); !slices.Contains(strings.Fields(d.last("EXPOSE")), port) {
			t.Errorf("%s is at port %s, and EXPOSE says %s", flag, port, d.last("EXPOSE"))
		}
	}
}

// TestCompose: the file for docker compose names the image's own places.
func TestCompose(t *testing.T) {
	var file struct {
		Services map[string]struct {
			Image       string
			Build       struct{ Context, Dockerfile string }
			Ports       []string
			Volumes     []string
			ReadOnly    bool     `yaml:"read_only"`
			CapDrop     []string `yaml:"cap_drop"`
			SecurityOpt []string `yaml:"security_opt"`
			Ulimits     map[string]int
			MemLimit    string `yaml:"mem_limit"`
			Environment map[string]string
			Grace       string `yaml:"stop_grace_period"`
			Restart     string
		}
		Volumes map[string]any
	}
	strictly(t, "docker/compose.yaml", &file)
	s, ok := file.Services["watermaster"]
	if !ok || !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || !slices.Equal(s.SecurityOpt, []string{"no-new-privileges:true"}) {
		t.Errorf("got %+v, want a container that can write nothing but its state", s)
	}
	if _, err := os.Stat(filepath.Join("docker", s.Build.Context, s.Build.Dockerfile)); err != nil {
		t.Errorf("build: %v", err)
	}
	if _, err := os.Stat(filepath.Join("docker", s.Build.Context, "go.mod")); err != nil {
		t.Errorf("build: the context is not the repository: %v", err)
	}
	args, err := words(image(t).last("CMD"))
	if err != nil {
		t.Fatal(err)
	}
	holdsGrace(t, args, duration(t, s.Grace))
	var mounted []string
	for _, v := range s.Volumes {
		from, to, _ := strings.Cut(v, ":")
		to, mode, _ := strings.Cut(to, ":")
		mounted = append(mounted, to)
		if _, named := file.Volumes[from]; named == (mode == "ro") {
			t.Errorf("the volume %s: want a named one to write to, and directories to read only", v)
		}
	}
	for _, flag := range []string{"--config", "--tls-cert", "--tls-key"} {
		if dir := filepath.Dir(flagOf(args, flag)); !slices.Contains(mounted, dir) {
			t.Errorf("%s is in %s, which is not mounted: there are %q", flag, dir, mounted)
		}
	}
	if !slices.Contains(mounted, flagOf(args, "--state")) {
		t.Errorf("--state is in no volume: there are %q", mounted)
	}
	fits(t, args, s.Environment["GOMEMLIMIT"], s.MemLimit)
}
