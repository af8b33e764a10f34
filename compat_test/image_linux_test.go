package compat_test

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// stage is one of a Dockerfile's.
type stage struct {
	base, user         string
	run                []string
	files              [][2]string // from the stage that builds: there, and here
	env                []string
	entry, args, check []string
}

// readStages reads as much of a Dockerfile as ours has; hadolint reads all.
func readStages(t *testing.T, text string) map[string]*stage {
	t.Helper()
	stages := map[string]*stage{}
	var s *stage
	for line := range strings.Lines(strings.ReplaceAll(text, "\\\n", "")) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		list := func() (words []string) {
			if err := json.Unmarshal([]byte(rest[strings.Index(rest, "["):]), &words); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			return words
		}
		switch word {
		case "FROM":
			base, name, _ := strings.Cut(rest, " AS ")
			s = &stage{base: base}
			stages[name] = s
		case "RUN":
			s.run = append(s.run, rest)
		case "COPY":
			if files, is := strings.CutPrefix(rest, "--from=build "); is {
				from, to, _ := strings.Cut(files, " ")
				s.files = append(s.files, [2]string{from, to})
			}
		case "USER":
			s.user = rest
		case "ENV":
			s.env = append(s.env, rest)
		case "HEALTHCHECK":
			s.check = list()
		case "ENTRYPOINT":
			s.entry = list()
		case "CMD":
			s.args = list()
		}
	}
	return stages
}

// The Dockerfile's own command builds a static program, which runs as its own user in a file system where nothing else
// is; beside a Python app it runs that.
func TestDockerfile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(deployDir, "Dockerfile")
	if said := checked(t, flowerProgram("hadolint"), path); said != "" {
		t.Error(said)
	}
	stages := readStages(t, deployed(t, "Dockerfile"))
	for _, name := range []string{"go", "python"} {
		if s := stages[name]; s == nil || s.user != "65532:65532" || len(s.check) == 0 {
			t.Fatalf("the stage %s: %+v", name, s)
		}
	}
	made := t.TempDir()
	program, licenses := filepath.Join(made, "apium"), filepath.Join(made, "licenses")
	here := strings.NewReplacer("-o /apium ", "-o "+program+" ", "/licenses", licenses, "/modules", filepath.Join(made, "modules"))
	for _, run := range stages["build"].run {
		if run != "go mod download" {
			command(t, "testdata/worker", nil, "sh", "-c", here.Replace(run))
		}
	}
	wantStatic(t, program)
	licensed(t, program, licenses, "go")
	if said, err := exec.Command(program, "worker", "--embedded").CombinedOutput(); err == nil || !strings.Contains(string(said), "built without the embedded Redis") {
		t.Errorf("--embedded, which is left out: %v: %s", err, said)
	}
	server := startRedis(t)
	t.Run("go", func(t *testing.T) {
		root := imageOf(t, stages["go"], map[string]string{"/apium": program, "/licenses": licenses})
		licensed(t, program, filepath.Join(root, "licenses"), "go")
		s := stages["go"]
		if os.Getuid() != 0 { // who may not change the root runs the program where it is
			s.entry[0], s.check[0], root = program, program, ""
		}
		s.serve(t, root, "", []string{"CELERY_BROKER_URL=" + server.url(0), "JOURNAL=" + server.url(1)})
	})
	t.Run("python", func(t *testing.T) {
		s := stages["python"]
		if s.args[0] != "apium" || s.check[0] != "apium" {
			t.Fatalf("%+v", s)
		}
		s.args[0], s.check[0] = program, program
		venv, err := filepath.Abs(filepath.Dir(filepath.Dir(interpreter(celery57))))
		if err != nil {
			t.Fatal(err)
		}
		s.serve(t, "", tutorialDir, append(activated(venv), "BROKER="+server.url(2), "BACKEND="+server.url(2), "JOURNAL="+server.url(1), "GO_TASKS=^$"))
	})
}

// serve runs what the stage runs, until it is healthy, and has it end.
func (s *stage) serve(t *testing.T, root, dir string, env []string) {
	t.Helper()
	if !slices.Contains(s.env, "APIUM_METRICS_ADDR=0.0.0.0:9808") {
		t.Errorf("metrics are not served: %q", s.env)
	}
	env = append(env, fmt.Sprintf("APIUM_METRICS_ADDR=127.0.0.1:%d", freePort(t)))
	words := slices.Concat(s.entry, s.args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	if root != "" {
		cmd.Dir, cmd.Env = "/", env
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: 65532, Gid: 65532}}
	}
	p := &process{name: "image", cmd: cmd, log: &logBuffer{}, done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p.log, p.log
	p.begin(t)
	waitHealthy(t, p, env, s.check...)
	p.signal(t, syscall.SIGTERM)
	if code := p.exitCode(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// imageOf makes the file system of a stage that has nothing but what it copies, and is less than 30 MB.
func imageOf(t *testing.T, s *stage, built map[string]string) string {
	t.Helper()
	if s.base != "scratch" {
		t.Fatalf("it stands on %s", s.base)
	}
	root := filepath.Join(t.TempDir(), "root")
	for _, file := range s.files {
		from, to := file[0], filepath.Join(root, file[1])
		if strings.HasSuffix(file[1], "/") {
			to = filepath.Join(to, filepath.Base(from))
		}
		if file[0] == "/licenses" {
			if err := os.CopyFS(to, os.DirFS(built[from])); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if built[from] != "" {
			from = built[from]
		}
		content, err := os.ReadFile(from)
		if os.IsNotExist(err) && from == file[0] {
			continue // a machine without authorities
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, to, string(content), 0o755)
	}
	var size int64
	err := filepath.WalkDir(root, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if t.Logf("the image has %d bytes", size); size >= 30_000_000 {
		t.Errorf("an image of %d bytes", size)
	}
	return root
}

// wantStatic fails if a program needs a loader or libraries.
func wantStatic(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	needs, _ := f.ImportedLibraries()
	if len(needs) != 0 || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		t.Errorf("the program is not static: it needs %q", needs)
	}
}
