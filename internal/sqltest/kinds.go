package sqltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// kind is what servers of a dialect have in common.
type kind struct {
	names   []string // of the server's program
	places  []string // where it may be, besides PATH
	install string   // what to do if it is nowhere
	admin   string   // a database that every server has
	signal  syscall.Signal
	end     string // the same signal, as the shell calls it

	create func(*Server) error    // makes the server's files
	run    func(*Server) []string // its command line
}

var kinds = map[string]kind{
	PostgreSQL: {
		names: []string{"postgres"}, places: []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"},
		install: "apt-get install postgresql", admin: "postgres",
		signal: syscall.SIGQUIT, end: "QUIT", // its children die with it; SIGKILL would leave shared memory
		create: createPostgres, run: runPostgres,
	},
	MySQL: {
		names: []string{"mariadbd"}, places: []string{"/usr/sbin", "/usr/libexec", "/opt/homebrew/bin"},
		install: "apt-get install mariadb-server-core", admin: "mysql",
		signal: syscall.SIGKILL, end: "KILL",
		create: createMariaDB, run: runMariaDB,
	},
}

// Find says whether the servers' programs are there, and if not what to install.
func Find() error {
	for _, dialect := range []string{PostgreSQL, MySQL} {
		if _, err := kinds[dialect].path(); err != nil {
			return err
		}
	}
	return nil
}

// path finds the server's program, the newest if there are several.
func (k kind) path() (string, error) {
	for _, name := range k.names {
		if path, err := exec.LookPath(name); err == nil {
			return filepath.EvalSymlinks(path)
		}
		for _, place := range k.places {
			found, _ := filepath.Glob(filepath.Join(place, name)) // the patterns are ours
			slices.Sort(found)
			if len(found) > 0 {
				return filepath.EvalSymlinks(found[len(found)-1])
			}
		}
	}
	return "", fmt.Errorf("sqltest: there is no %s on the PATH nor in %s: %s, or run scripts/test --only tools",
		strings.Join(k.names, " nor "), strings.Join(k.places, ", "), k.install)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func createPostgres(s *Server) error {
	// A password file keeps the superuser's password; locale C because every machine has it.
	secret := filepath.Join(s.dir, "secret")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o644); err != nil {
		return err
	}
	initdb := s.command(filepath.Join(filepath.Dir(s.program), "initdb"), "--pgdata", s.data(), "--username", account, "--pwfile", secret,
		"--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions")
	return output(initdb)
}

func runPostgres(s *Server) []string {
	return []string{
		s.program, "-D", s.data(), "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=" + s.dir,
		"-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=300", "-c", "shared_buffers=64MB",
		"-c", "timezone=UTC", "-c", "autovacuum=off",
	}
}

// createMariaDB does what mariadb-install-db does, which needs Perl and more.
func createMariaDB(s *Server) error {
	if err := s.command("mkdir", s.data()).Run(); err != nil {
		return err
	}
	script := bytes.NewBufferString("CREATE DATABASE mysql;\nUSE mysql;\n")
	for _, name := range []string{"mysql_system_tables.sql", "mysql_system_tables_data.sql"} {
		text, err := s.shared(name)
		if err != nil {
			return err
		}
		script.Write(text)
	}
	bootstrap := s.command(s.program, append(mariadbFlags(s), "--bootstrap")...)
	bootstrap.Stdin = script
	if err := output(bootstrap); err != nil {
		return err
	}
	grants := fmt.Sprintf("CREATE USER IF NOT EXISTS '%s'@'%%' IDENTIFIED BY '%s';\nGRANT ALL ON *.* TO '%[1]s'@'%%' WITH GRANT OPTION;\n", account, password)
	return os.WriteFile(filepath.Join(s.dir, "grants.sql"), []byte(grants), 0o644)
}

// shared reads a file that belongs to MariaDB's programs.
func (s *Server) shared(name string) ([]byte, error) {
	base := filepath.Dir(filepath.Dir(s.program))
	for _, dir := range []string{"share/mysql", "share/mariadb", "share"} {
		text, err := os.ReadFile(filepath.Join(base, dir, name))
		if err == nil || !os.IsNotExist(err) {
			return text, err
		}
	}
	return nil, fmt.Errorf("%s belongs to %s and is not in %s/share", name, s.program, base)
}

// mariadbFlags and runPostgres save fsync: what is committed survives the server, not the machine.
func mariadbFlags(s *Server) []string {
	return []string{
		"--no-defaults", "--datadir=" + s.data(), "--innodb-log-file-size=16M", "--innodb-buffer-pool-size=64M",
		"--innodb-flush-log-at-trx-commit=2", "--innodb-flush-method=nosync", "--skip-innodb-doublewrite", "--skip-log-bin",
	}
}

func runMariaDB(s *Server) []string {
	return append(append([]string{s.program}, mariadbFlags(s)...),
		"--port="+strconv.Itoa(s.port), "--bind-address=127.0.0.1", "--skip-name-resolve", "--socket="+filepath.Join(s.dir, "socket"),
		"--pid-file="+filepath.Join(s.dir, "mariadb.pid"), "--init-file="+filepath.Join(s.dir, "grants.sql"),
		"--character-set-server=utf8mb4", "--max-connections=300", "--skip-performance-schema")
}

// output runs a program, whose error says what it printed.
func output(cmd *exec.Cmd) error {
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, text)
	}
	return nil
}
