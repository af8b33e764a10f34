package compat_test

import (
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// command runs a program to its end and returns what it printed, without the last line's end.
func command(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s%s", name, args, err, out, tail(stderr.String(), 3000))
	}
	return strings.TrimRight(string(out), "\n")
}

// buildWheel builds the wheel for this machine from a checkout and returns its path.
func buildWheel(t *testing.T, checkout, version string) string {
	t.Helper()
	return command(t, checkout, nil, interpreter(celery57), "scripts/wheel", "--version", version, "-o", t.TempDir())
}

// What the installers' own library says of scripts/wheel's names, versions and metadata.
const judgeWheel = `
import importlib.machinery, importlib.util, json, sys, zipfile
from packaging import metadata, tags, utils
from packaging.version import Version
from pathlib import Path

script, wheel, described = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
loader = importlib.machinery.SourceFileLoader("wheel_script", script)
module = importlib.util.module_from_spec(importlib.util.spec_from_loader("wheel_script", loader))
loader.exec_module(module)

name, version, _, wheel_tags = utils.parse_wheel_filename(wheel.name)
with zipfile.ZipFile(wheel) as archive:
    described_by = metadata.Metadata.from_email(archive.read(f"apium-{version}.dist-info/METADATA"), validate=True)
    licenses = [f for f in archive.namelist() if "/licenses/" in f]
    stated = {line[len("Tag: "):] for line in archive.read(f"apium-{version}.dist-info/WHEEL").decode().splitlines() if line.startswith("Tag: ")}
known = {*tags.mac_platforms((12, 0), "x86_64"), *tags.mac_platforms((12, 0), "arm64")} | {
    f"{name}_{machine}" for name in ("manylinux_2_17", "manylinux2014", "musllinux_1_1") for machine in ("x86_64", "aarch64")}
versions = [module.pep440(text, "417") for text in described]
print(json.dumps({
    "name": name, "version": str(version), "runs here": bool(wheel_tags & set(tags.sys_tags())), "tags": {str(tag) for tag in wheel_tags} == stated,
    "unknown tags": [tag for names in module.PLATFORMS.values() for tag in names.split(".") if tag not in known],
    "metadata": [described_by.name, str(described_by.version), str(described_by.requires_python), described_by.license_expression],
    "relative links": "](docs/" in described_by.description, "licenses": len(licenses) == len(described_by.license_files) > 10,
    "versions": versions, "in order": sorted(versions, key=Version) == versions, "checkout": str(Version(module.version_of_checkout())),
}, default=str))
`

// TestWheel holds a wheel against what pip's library and the wheel tool make of it.
func TestWheel(t *testing.T) {
	t.Parallel()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	wheel := buildWheel(t, root, "1.2.3rc1")
	described, err := json.Marshal([]string{
		"0123456789ab", "0123456789ab-dirty", "v0.1.0-rc.1-0-g0123456789ab", "v0.1.0-rc.1-2-g0123456789ab", "v0.1.0-0-g0123456789ab", "v0.1.0-12-g0123456789ab-dirty",
	})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	out := command(t, root, []string{"PYTHONDONTWRITEBYTECODE=1"}, interpreter(celery57), "-c", judgeWheel, "scripts/wheel", wheel, string(described))
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if ours, _ := got["checkout"].(string); ours == "" {
		t.Error("the version of this checkout is empty")
	}
	delete(got, "checkout")
	want := map[string]any{
		"name": "apium", "version": "1.2.3rc1", "runs here": true, "tags": true, "unknown tags": []any{},
		"metadata":       []any{"apium", "1.2.3rc1", ">=3.8", "MIT"},
		"relative links": false, "licenses": true,
		"versions": []any{
			"0.0.0.dev417+g0123456789ab", "0.0.0.dev417+g0123456789ab.dirty", "0.1.0rc1", "0.1.0rc2.dev2+g0123456789ab", "0.1.0", "0.1.1.dev12+g0123456789ab.dirty",
		},
		"in order": true,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the wheel (-want +got):\n%s", diff)
	}

	// The wheel tool compares all files with the hashes in RECORD.
	unpacked := t.TempDir()
	command(t, unpacked, nil, interpreter(celery44), "-m", "wheel", "unpack", wheel)
	program, err := os.Stat(filepath.Join(unpacked, "apium-1.2.3rc1", "apium-1.2.3rc1.data", "scripts", "apium"))
	if err != nil || program.Mode().Perm()&0o111 == 0 {
		t.Errorf("the program in the wheel: %v, %v", program, err)
	}

	files := filepath.Join(unpacked, "apium-1.2.3rc1")
	licensed(t, filepath.Join(files, "apium-1.2.3rc1.data", "scripts", "apium"), filepath.Join(files, "apium-1.2.3rc1.dist-info", "licenses"), ".", "go")

	// Another checkout elsewhere, at another time, without git: the same bytes.
	again := buildWheel(t, copyCheckout(t, root), "1.2.3rc1")
	if filepath.Base(wheel) != filepath.Base(again) || hash(t, wheel) != hash(t, again) {
		t.Errorf("a second build of %s is another one: %s", wheel, again)
	}
}

// licensed sees that with a program are the licences of each module that it says it is made of, and those in other folders.
func licensed(t *testing.T, path, licenses string, folders ...string) {
	t.Helper()
	program, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, module := range program.Deps {
		folders = append(folders, module.Path)
	}
	if len(folders) < 10 {
		t.Errorf("the program says it is made of %q", folders)
	}
	for _, folder := range folders {
		files, err := os.ReadDir(filepath.Join(licenses, folder))
		if err != nil || !slices.ContainsFunc(files, func(file os.DirEntry) bool {
			return strings.HasPrefix(file.Name(), "LICEN") || strings.HasPrefix(file.Name(), "COPYING")
		}) {
			t.Errorf("there is no licence of %s: %v", folder, err)
		}
	}
}

func hash(t *testing.T, path string) [sha256.Size]byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(content)
}

// copyCheckout copies the files of a checkout that are or could be committed.
func copyCheckout(t *testing.T, root string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range strings.Split(command(t, root, nil, "git", "ls-files", "-co", "--exclude-standard"), "\n") {
		content, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What cannot be a wheel is refused before anything is built.
func TestWheelRefusals(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"--version v1.2.3":         "v1.2.3 is no version",
		"--platform windows/amd64": "invalid choice: 'windows/amd64'",
	} {
		cmd := exec.CommandContext(t.Context(), interpreter(celery57), append([]string{"../scripts/wheel", "-o", t.TempDir()}, strings.Fields(args)...)...)
		out, err := cmd.CombinedOutput()
		if err == nil || !strings.Contains(string(out), want) {
			t.Errorf("scripts/wheel %s: %v, want %q in:\n%s", args, err, want, out)
		}
	}
}
