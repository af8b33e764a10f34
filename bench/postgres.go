package main

import (
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gomodule/redigo/redis"
	_ "github.com/jackc/pgx/v5/stdlib" // counts the results
)

// postgres is a PostgreSQL as it comes, which writes to disk what is committed, with the tables of
// django-celery-results. All measurements share it, one after the other.
type postgres struct {
	dir string
	db  *sql.DB
	cmd *exec.Cmd
}

var (
	sharedPostgres = sync.OnceValues(startPostgres)
	stopPostgres   = func() {}
)

func startPostgres() (*postgres, error) {
	program, err := postgresProgram()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	attr := &syscall.SysProcAttr{Setpgid: true}
	if os.Geteuid() == 0 { // which it refuses to run as
		attr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534}
		if err := os.Chown(dir, 65534, 65534); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(filepath.Dir(program), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--locale", "C", "-E", "UTF8")
	p := &postgres{dir: dir, cmd: exec.Command(program, "-D", data, "-k", dir, "-c", "listen_addresses=")}
	for _, cmd := range []*exec.Cmd{initdb, p.cmd} {
		cmd.SysProcAttr, cmd.Dir = attr, dir
	}
	if out, err := initdb.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	stopPostgres = p.stop
	return p, p.prepare()
}

func postgresProgram() (string, error) {
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres"); len(found) > 0 { // the pattern is ours
		return slices.Max(found), nil
	}
	program, err := exec.LookPath("postgres")
	if err != nil {
		return "", fmt.Errorf("PostgreSQL is missing: apt-get install postgresql: %w", err)
	}
	return filepath.EvalSymlinks(program)
}

// prepare waits until it answers, and makes the tables.
func (p *postgres) prepare() (err error) {
	if p.db, err = sql.Open("pgx", "host="+p.dir+" user=postgres dbname=postgres"); err != nil {
		return err
	}
	for deadline := time.Now().Add(time.Minute); p.db.Ping() != nil; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not start")
		}
	}
	migrate := exec.Command(*python+"/python", "-m", "django", "migrate", "-v", "0", "--settings", "bench_sql")
	migrate.Env = append(os.Environ(), "BENCH_MIGRATE=1", "BENCH_POSTGRES="+p.dir, "PYTHONPATH=.")
	if out, err := migrate.CombinedOutput(); err != nil {
		return fmt.Errorf("migrate: %w\n%s", err, out)
	}
	return os.Setenv("BENCH_POSTGRES", p.dir) // for the workers
}

// stop ends it and removes its data.
func (p *postgres) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	_ = p.cmd.Wait() // it was told to
	os.RemoveAll(p.dir)
}

// fillSQL is fillCelery, with an empty table of results.
func fillSQL(s *server, n int) ([]string, error) {
	p, err := sharedPostgres()
	if err != nil {
		return nil, err
	}
	if _, err := p.db.Exec("TRUNCATE django_celery_results_taskresult"); err != nil {
		return nil, err
	}
	if _, err := p.db.Exec("CHECKPOINT"); err != nil {
		return nil, err
	}
	return fillCelery(s, n)
}

// sqlDone counts the rows of results.
func sqlDone(_ redis.Conn, results []string) (n int, err error) {
	p, err := sharedPostgres()
	if err != nil {
		return 0, err
	}
	ids := make([]string, len(results))
	for i, key := range results {
		ids[i] = strings.TrimPrefix(key, metaPrefix)
	}
	err = p.db.QueryRow("SELECT count(*) FROM django_celery_results_taskresult WHERE task_id = ANY($1) AND status = 'SUCCESS'", ids).Scan(&n)
	return n, err
}

// sqlURL is the result backend of a worker without Python.
func sqlURL() string {
	return "django-db+postgresql://postgres@/postgres?host=" + os.Getenv("BENCH_POSTGRES")
}
