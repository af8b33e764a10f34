package compat_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.yaml.in/yaml/v3"
)

const deployDir = "../docs/deploy"

func deployed(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployDir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// checked runs a program that checks a file, and returns all it says.
func checked(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", program, args, err, out)
	}
	return string(out)
}

// systemd reads the units, and knows all that they say.
func TestSystemdUnits(t *testing.T) {
	t.Parallel()
	units, err := filepath.Glob(filepath.Join(deployDir, "*.service"))
	if err != nil || len(units) != 2 {
		t.Fatalf("%q, %v", units, err)
	}
	for _, unit := range units {
		dir := t.TempDir()
		text := strings.NewReplacer("/srv/mysite/venv/bin/apium", apiumBinary, "/srv/mysite", dir).Replace(deployed(t, filepath.Base(unit)))
		path := filepath.Join(dir, filepath.Base(unit))
		writeFile(t, path, text, 0o644)
		if said := checked(t, "systemd-analyze", "verify", "--man=no", path); said != "" {
			t.Errorf("%s: %s", unit, said)
		}
	}
}

// Prometheus reads the alerts, and they fire when they should and do not when all is well.
func TestAlerts(t *testing.T) {
	t.Parallel()
	checked(t, "promtool", "check", "rules", "--lint-fatal", filepath.Join(deployDir, "alerts.yml"))
	checked(t, "promtool", "test", "rules", filepath.Join(deployDir, "alerts_test.yml"))
}

// logrotate moves the file of a worker that runs, which then writes into a new one.
func TestLogrotate(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	dir := t.TempDir()
	config := filepath.Join(dir, "logrotate")
	text := strings.NewReplacer("/var/log/apium", dir, "\tsu mysite mysite\n", "", "create 0640 mysite mysite", "create 0640").Replace(deployed(t, "logrotate"))
	writeFile(t, config, text, 0o644)
	log := filepath.Join(dir, "w1.log")
	a := app{broker: server.url(0), journal: server.url(1)}
	w := launchWorker(t, a, "-n", "w1@example", "-l", "info", "-f", filepath.Join(dir, "%n.log"))
	lines := func() string {
		text, _ := os.ReadFile(log)
		return string(text)
	}
	eventually(t, patience, "the worker is ready", func() bool { return strings.Contains(lines(), "ready.") })
	rotate := exec.CommandContext(t.Context(), "logrotate", "--force", "--state", filepath.Join(dir, "state"), config)
	rotate.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin")
	rotate.Path = sbin(t, "logrotate")
	if out, err := rotate.CombinedOutput(); err != nil || len(out) != 0 {
		t.Fatalf("%v\n%s", err, out)
	}
	if moved, err := os.ReadFile(log + ".1"); err != nil || !strings.Contains(string(moved), "ready.") {
		t.Fatalf("nothing was rotated: %v", err)
	}
	w.signal(t, syscall.SIGUSR1)
	eventually(t, patience, "the worker writes into the new file", func() bool { return strings.Contains(lines(), "Stacks") })
}

// sbin finds a program also where only root looks.
func sbin(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	return filepath.Join("/usr/sbin", name)
}

// flowerProgram is a program of the environment that has what operators use.
func flowerProgram(name string) string {
	return filepath.Join(filepath.Dir(interpreter(flowerVenv)), name)
}

// container is what a manifest says of one.
type container struct {
	Name string
	Args []string
	Env  []struct{ Name, Value string }

	LivenessProbe  probe `yaml:"livenessProbe"`
	ReadinessProbe probe `yaml:"readinessProbe"`
}

type probe struct {
	HTTPGet struct{ Path string } `yaml:"httpGet"`
}

// manifest is what is looked at in one.
type manifest struct {
	Kind string
	Spec struct {
		Template struct {
			Spec struct {
				TerminationGracePeriodSeconds float64 `yaml:"terminationGracePeriodSeconds"`
				Containers                    []container
			}
		}
	}
}

// The manifests are valid, and what they start becomes ready.
func TestKubernetesManifests(t *testing.T) {
	t.Parallel()
	path := filepath.Join(deployDir, "kubernetes.yaml")
	checked(t, flowerProgram("kubernetes-validate"), "--strict", "--quiet", path)
	server := startRedis(t)
	decoder, found := yaml.NewDecoder(strings.NewReader(deployed(t, "kubernetes.yaml"))), 0
	for {
		var m manifest
		if err := decoder.Decode(&m); err != nil {
			break
		}
		pod := m.Spec.Template.Spec
		for _, c := range pod.Containers {
			found++
			for _, arg := range c.Args {
				var most float64
				if value, is := strings.CutPrefix(arg, "--shutdown-timeout="); is && (json.Unmarshal([]byte(value), &most) != nil || most+5 > pod.TerminationGracePeriodSeconds) {
					t.Errorf("%s: %s does not leave a warm shutdown time in %v s", c.Name, arg, pod.TerminationGracePeriodSeconds)
				}
			}
			if c.LivenessProbe.HTTPGet.Path != "/livez" || c.ReadinessProbe.HTTPGet.Path != "/readyz" {
				t.Errorf("%s: %+v", c.Name, c)
			}
			if !slices.ContainsFunc(c.Env, func(e struct{ Name, Value string }) bool { return e.Name == "APIUM_METRICS_ADDR" }) {
				t.Errorf("%s serves no probes", c.Name)
			}
			env := []string{
				"CELERY_BROKER_URL=" + server.url(0), "CELERY_RESULT_BACKEND=" + server.url(0), "JOURNAL=" + server.url(1),
				fmt.Sprintf("APIUM_METRICS_ADDR=127.0.0.1:%d", freePort(t)),
			}
			p := start(t, c.Name, t.TempDir(), env, workerBinary, c.Args...)
			waitHealthy(t, p, env, workerBinary, "health")
			p.signal(t, syscall.SIGTERM)
			if code := p.exitCode(t); code != 0 {
				t.Errorf("%s: exit status %d", c.Name, code)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d containers were found", found)
	}
}

// waitHealthy waits until a health check of a process succeeds.
func waitHealthy(t *testing.T, p *process, env []string, check ...string) {
	t.Helper()
	var out []byte
	healthy := comesTrue(patience, func() bool {
		cmd := exec.CommandContext(t.Context(), check[0], check[1:]...)
		cmd.Env, cmd.SysProcAttr = append(os.Environ(), env...), p.cmd.SysProcAttr
		var err error
		out, err = cmd.CombinedOutput()
		return err == nil || p.stopped()
	})
	if !healthy || p.stopped() {
		t.Fatalf("%s is not healthy: %s", p.name, out)
	}
}
