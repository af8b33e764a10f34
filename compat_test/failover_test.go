package compat_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/gomodule/redigo/redis"
)

// masterName is what the Sentinel of a failover calls its master.
const masterName = "siege"

// failover is a Redis with a replica and a Sentinel, which makes the replica the master when that is gone for two seconds.
type failover struct {
	master, replica *redisServer
	sentinel        *redisServer
}

func startFailover(t *testing.T) *failover {
	t.Helper()
	f := &failover{master: startRedis(t, journaled...)}
	f.replica = startRedis(t, append([]string{"--replicaof", "127.0.0.1 " + strconv.Itoa(f.master.port), "--repl-diskless-sync-delay", "0"}, journaled...)...)
	f.sentinel = &redisServer{port: freePort(t), dir: t.TempDir()}
	file := filepath.Join(f.sentinel.dir, "sentinel.conf")
	conf := fmt.Sprintf("port %d\nbind 127.0.0.1\nsentinel monitor %[2]s 127.0.0.1 %[3]d 1\nsentinel down-after-milliseconds %[2]s 2000\n"+
		"sentinel failover-timeout %[2]s 2000\n", f.sentinel.port, masterName, f.master.port)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	program, err := redisProgram()
	if err != nil {
		t.Fatal(err)
	}
	f.sentinel.process = start(t, "sentinel", f.sentinel.dir, nil, program, file, "--sentinel")
	f.settled(t)
	return f
}

func (f *failover) url() string { return fmt.Sprintf("sentinel://127.0.0.1:%d/0", f.sentinel.port) }

// settled waits until the replica follows the master, and Sentinel knows it.
func (f *failover) settled(t *testing.T) {
	t.Helper()
	eventually(t, patience, "Sentinel knows master and replica", func() bool {
		link, err := redis.String(f.replica.try("INFO", "replication"))
		if err != nil || !strings.Contains(link, "master_port:"+strconv.Itoa(f.master.port)) || !strings.Contains(link, "master_link_status:up") {
			return false
		}
		replicas, err := redis.Values(f.sentinel.try("SENTINEL", "REPLICAS", masterName))
		if err != nil || len(replicas) != 1 {
			return false
		}
		known, err := redis.StringMap(replicas[0], nil)
		return err == nil && known["port"] == strconv.Itoa(f.replica.port) && known["flags"] == "slave" && known["master-link-status"] == "ok"
	})
}

// promoted waits until the replica is the master, which the other one is no longer.
func (f *failover) promoted(t *testing.T) {
	t.Helper()
	eventually(t, patience, "the replica is the master", func() bool {
		master, err := redis.Strings(f.sentinel.try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterName))
		return err == nil && master[1] == strconv.Itoa(f.replica.port)
	})
	f.master, f.replica = f.replica, f.master
	f.master.args = journaled
}

// killMaster has the replica take over from a master that is killed, and comes back as the replica.
func killMaster(s *siege) {
	f := s.failover
	f.settled(s.t)
	f.master.kill()
	f.promoted(s.t)
	s.server = f.master
	f.replica.start(s.t)
}

// hangMaster has the replica take over from a master that is frozen, and thaws it again.
func hangMaster(s *siege) {
	f := s.failover
	f.settled(s.t)
	f.master.signal(s.t, syscall.SIGSTOP)
	f.promoted(s.t)
	s.server = f.master
	f.replica.signal(s.t, syscall.SIGCONT)
}
