package deploy

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const pod = "spec.template.spec."

func statefulSet(t *testing.T) object {
	t.Helper()
	o := manifests(t)["StatefulSet/watermaster"]
	if o == nil {
		t.Fatal("there is no StatefulSet watermaster")
	}
	return o
}

// terminationGrace is how long a pod may take to end.
func terminationGrace(o object) time.Duration {
	seconds, _ := at(o, pod+"terminationGracePeriodSeconds").(int)
	return time.Duration(seconds) * time.Second
}

// TestPodRuns starts the image with the pod's arguments and volumes, asks what the kubelet's
// probes ask, changes the ConfigMap as the kubelet does, and ends it in the time it has.
func TestPodRuns(t *testing.T) {
	o := statefulSet(t)
	skipIfShort(t)
	s := newSite(t)
	c := newContainer(t, s)
	config := s.path("config")
	swap := func(version, old, new string) {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(config, "config.yaml"))
		if err == nil {
			err = os.Mkdir(filepath.Join(config, version), 0o755)
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(config, version, "config.yaml"), []byte(strings.Replace(string(text), old, new, 1)), 0o644)
		}
		if err == nil {
			err = os.Symlink(version, filepath.Join(config, "..data_tmp"))
		}
		if err == nil {
			err = os.Rename(filepath.Join(config, "..data_tmp"), filepath.Join(config, "..data"))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	swap("..1", "", "")
	if err := os.Remove(filepath.Join(config, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", "config.yaml"), filepath.Join(config, "config.yaml")); err != nil {
		t.Fatal(err)
	}
	for _, e := range list(o, pod+"containers.0.env") {
		c.environment = append(c.environment, fmt.Sprintf("%v=%v", at(e, "name"), at(e, "value")))
	}
	p := start(t, s, c.command(append(c.entry, texts(o, pod+"containers.0.args")...)...))
	for _, probe := range []string{"startupProbe", "readinessProbe", "livenessProbe"} {
		get := at(o, pod+"containers.0."+probe+".httpGet")
		if at(get, "scheme") != "HTTPS" || at(get, "port") != "http" {
			t.Errorf("%s is %v, want HTTPS at http", probe, get)
		}
		if status, body := p.page(fmt.Sprint(at(get, "path")), ""); status != 200 {
			t.Errorf("%s: got %d, %s", probe, status, body)
		}
	}
	healthcheck(t, c.command(append(c.entry, "healthcheck", "--address", p.grpc)...))
	p.granted("a")
	swap("..2", "requests: 10000/min", "requests: 10001/min")
	p.wait("the configuration is in force")
	p.granted("b")
	p.stop(terminationGrace(o))
}

// TestPodIsRestricted: the "restricted" standard of pod security, and what it leaves open.
func TestPodIsRestricted(t *testing.T) {
	o := statefulSet(t)
	container := pod + "containers.0."
	d := image(t)
	rows := map[string]any{
		pod + "securityContext.runAsNonRoot":                   true,
		pod + "securityContext.seccompProfile.type":            "RuntimeDefault",
		pod + "automountServiceAccountToken":                   false,
		pod + "enableServiceLinks":                             false,
		pod + "hostNetwork":                                    nil,
		container + "securityContext.allowPrivilegeEscalation": false,
		container + "securityContext.readOnlyRootFilesystem":   true,
		container + "securityContext.capabilities.drop.0":      "ALL",
		container + "securityContext.capabilities.add":         nil,
		"spec.replicas": 1, // the state is on one volume
		"spec.volumeClaimTemplates.0.spec.accessModes.0": "ReadWriteOnce",
		container + "resources.limits.cpu":               nil,
		pod + "volumes.0.configMap.name":                 "watermaster",
		pod + "volumes.1.secret.secretName":              "watermaster-tls",
		"metadata.namespace":                             "watermaster",
	}
	for path, want := range rows {
		if got := at(o, path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	user := fmt.Sprintf("%v:%v", at(o, pod+"securityContext.runAsUser"), at(o, pod+"securityContext.runAsGroup"))
	if user != d.last("USER") {
		t.Errorf("it runs as %s, and the image as %s", user, d.last("USER"))
	}
	if group := fmt.Sprint(at(o, pod+"securityContext.fsGroup")); !strings.HasSuffix(user, ":"+group) {
		t.Errorf("the volume is the group %s's, and it runs as %s", group, user)
	}
	if at(o, container+"resources.requests.memory") == nil || at(o, container+"resources.requests.cpu") == nil {
		t.Error("it asks for no memory or CPU: it would be the first to be evicted")
	}
	env := named(o, container+"env", "GOMEMLIMIT")
	fits(t, texts(o, container+"args"), fmt.Sprint(at(env, "value")), fmt.Sprint(at(o, container+"resources.limits.memory")))
	if labels := fmt.Sprint(at(manifests(t)["Namespace/watermaster"], "metadata.labels")); !strings.Contains(labels, "pod-security.kubernetes.io/enforce:restricted") {
		t.Errorf("the namespace has the labels %s, want pod security restricted", labels)
	}
}

// TestPodAllowsTheDrain: the pod is not killed before it has ended by itself.
func TestPodAllowsTheDrain(t *testing.T) {
	o := statefulSet(t)
	args := texts(o, pod+"containers.0.args")
	holdsGrace(t, args, terminationGrace(o))
	if delay := duration(t, flagOf(args, "--drain-delay")); delay < 5*time.Second {
		t.Errorf("--drain-delay is %v: want 5 s, in which the endpoint goes everywhere", delay)
	}
}

// TestPodFindsItsFiles: every file that the arguments name is in a volume.
func TestPodFindsItsFiles(t *testing.T) {
	o := statefulSet(t)
	args := texts(o, pod+"containers.0.args")
	mounted := map[string]bool{}
	for _, m := range list(o, pod+"containers.0.volumeMounts") {
		if at(m, "subPath") != nil {
			t.Errorf("%v: what is mounted by subPath never changes", m)
		}
		mounted[fmt.Sprint(at(m, "mountPath"))] = true
		name := fmt.Sprint(at(m, "name"))
		if named(o, pod+"volumes", name) == nil && at(o, "spec.volumeClaimTemplates.0.metadata.name") != name {
			t.Errorf("there is no volume %s", name)
		}
	}
	for _, flag := range []string{"--config", "--tls-cert", "--tls-key"} {
		if dir := filepath.Dir(flagOf(args, flag)); !mounted[dir] {
			t.Errorf("%s is in %s: mounted are %v", flag, dir, slices.Collect(maps.Keys(mounted)))
		}
	}
	if !mounted[flagOf(args, "--state")] {
		t.Errorf("--state is in no volume")
	}
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if data := entries(manifests(t)["ConfigMap/watermaster"], "data"); data["config.yaml"] != string(text) {
		t.Errorf("the ConfigMap holds %v, want config.yaml as it is", data)
	}
}

// TestPorts: one number for each protocol, from the flags' defaults to the services.
func TestPorts(t *testing.T) {
	o, all := statefulSet(t), manifests(t)
	args := texts(o, pod+"containers.0.args")
	for _, row := range []struct{ name, service string }{{"grpc", "watermaster"}, {"http", "watermaster-http"}} {
		_, told, _ := strings.Cut(flagOf(args, "--"+row.name), ":")
		if got := fmt.Sprint(at(named(o, pod+"containers.0.ports", row.name), "containerPort")); got != told {
			t.Errorf("the port %s is %s, and --%s says %s", row.name, got, row.name, told)
		}
		port := named(all["Service/"+row.service], "spec.ports", row.name)
		if fmt.Sprint(at(port, "port")) != told || at(port, "targetPort") != row.name {
			t.Errorf("the service %s has %v, want the port %s to %s", row.service, port, told, row.name)
		}
		if got := portOf(t, "serve", row.name); got != told {
			t.Errorf("--%s is %s by default, and %s here", row.name, got, told)
		}
	}
	if got := at(all["Service/watermaster"], "spec.clusterIP"); got != "None" {
		t.Errorf("the service for gRPC has the clusterIP %v: a connection to it never moves", got)
	}
	if got, want := portOf(t, "healthcheck", "address"), portOf(t, "serve", "grpc"); got != want {
		t.Errorf("healthcheck asks at port %s by default, and gRPC is served at %s", got, want)
	}
}

// portOf gives the port of a flag's default.
func portOf(t *testing.T, command, flag string) string {
	t.Helper()
	skipIfShort(t)
	help, err := exec.Command(watermaster(t), command, "--help").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`--` + flag + ` .*\(default "127\.0\.0\.1:(\d+)"\)`).FindSubmatch(help)
	if found == nil {
		t.Fatalf("%s has no --%s with an address by default: %s", command, flag, help)
	}
	return string(found[1])
}

// TestSelectors: who is found by what is written elsewhere.
func TestSelectors(t *testing.T) {
	o, all := statefulSet(t), manifests(t)
	labels := fmt.Sprint(at(o, "spec.template.metadata.labels"))
	for path, selector := range map[string]any{
		"StatefulSet":              at(o, "spec.selector.matchLabels"),
		"Service watermaster":      at(all["Service/watermaster"], "spec.selector"),
		"Service watermaster-http": at(all["Service/watermaster-http"], "spec.selector"),
		"PodDisruptionBudget":      at(all["PodDisruptionBudget/watermaster"], "spec.selector.matchLabels"),
		"NetworkPolicy":            at(all["NetworkPolicy/watermaster"], "spec.podSelector.matchLabels"),
	} {
		if fmt.Sprint(selector) != labels {
			t.Errorf("%s selects %v, and the pod has %v", path, selector, labels)
		}
	}
	if got := at(o, "spec.serviceName"); got != "watermaster" {
		t.Errorf("the StatefulSet's service is %v, want the headless one", got)
	}
	policy := all["NetworkPolicy/watermaster"]
	if got := fmt.Sprint(at(policy, "spec.ingress.0.from.0.podSelector.matchLabels")); got != "map[watermaster-client:true]" {
		t.Errorf("the policy lets in %s: a label more, and no worker has it", got)
	}
	if got := at(policy, "spec.egress"); fmt.Sprint(got) != "[]" {
		t.Errorf("the policy lets out %v: the server calls nobody", got)
	}
}

// TestServiceMonitor: Prometheus finds the service and may see the metrics with the key that it is given.
func TestServiceMonitor(t *testing.T) {
	text, err := os.ReadFile("kubernetes/monitor.yaml")
	if err != nil {
		t.Fatal(err)
	}
	monitor := objects(t, text)["ServiceMonitor/watermaster"]
	o, all := statefulSet(t), manifests(t)
	service := all["Service/watermaster-http"]
	labels, wanted := entries(service, "metadata.labels"), entries(monitor, "spec.selector.matchLabels")
	if len(wanted) == 0 {
		t.Error("it selects everything")
	}
	for name, value := range wanted {
		if labels[name] != value {
			t.Errorf("it selects %v, and the service has %v", wanted, labels)
		}
	}
	endpoint := at(monitor, "spec.endpoints.0")
	if named(service, "spec.ports", fmt.Sprint(at(endpoint, "port"))) == nil {
		t.Errorf("the service has no port %v", at(endpoint, "port"))
	}
	if got, want := at(endpoint, "tlsConfig.ca.secret.name"), at(o, pod+"volumes.1.secret.secretName"); got != want {
		t.Errorf("the authority is in the Secret %v, and the certificate in %v", got, want)
	}
	skipIfShort(t)
	s := newSite(t)
	u := readUnit(t)
	p := start(t, s, u.command(t, s, u.one(t, "Service.ExecStart")))
	path := fmt.Sprint(at(endpoint, "path"))
	for _, row := range []struct {
		key    string
		status int
	}{{s.watch, 200}, {s.worker, 403}, {"", 401}} {
		if status, body := p.page(path, row.key); status != row.status {
			t.Errorf("%s: got %d, want %d: %.200s", path, status, row.status, body)
		}
	}
}
