package redistest

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Option changes how a server is started.
type Option func(*Server)

// Args adds arguments of the server's command line: "--maxclients", "5".
func Args(args ...string) Option {
	return func(s *Server) { s.args = append(s.args, args...) }
}

// Password sets requirepass.
func Password(password string) Option {
	return func(s *Server) {
		s.password = password
		s.args = append(s.args, "--requirepass", password)
	}
}

// Without removes commands, so that the server answers "unknown command". Those it
// does not have anyway are left out.
func Without(commands ...string) Option {
	return func(s *Server) {
		for _, c := range commands {
			s.args = append(s.args, "--rename-command", c, "")
		}
	}
}

// Cluster makes the server a node of a cluster, the only one: it has all slots, and refuses commands and scripts whose keys are in
// several.
func Cluster() Option {
	return func(s *Server) {
		s.cluster = true
		// The usual port of its bus may be too large, or in use.
		s.args = append(s.args, "--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(freePort(s.tb)))
	}
}

// takeSlots makes a node of a cluster the owner of all slots, and waits until it serves them.
func (s *Server) takeSlots(tb testing.TB) {
	if !s.cluster {
		return
	}
	slots := []any{"ADDSLOTS"}
	for slot := range 16384 {
		slots = append(slots, slot)
	}
	s.Do(tb, "CLUSTER", slots...)
	for deadline := time.Now().Add(startTimeout); !strings.Contains(fmt.Sprintf("%s", s.Do(tb, "CLUSTER", "INFO")), "cluster_state:ok"); {
		if time.Now().After(deadline) {
			tb.Fatalf("the cluster is not there within %v", startTimeout)
		}
		<-time.After(10 * time.Millisecond)
	}
}

// Redis32 removes the commands on lists, strings and sorted sets that Redis 3.2
// does not have yet.
func Redis32() Option {
	return Without("BLMOVE", "LMOVE", "BLMPOP", "LMPOP", "LPOS", "GETDEL", "GETEX", "COPY", "UNLINK",
		"HRANDFIELD", "ZPOPMIN", "ZPOPMAX", "BZPOPMIN", "BZPOPMAX", "ZMPOP", "BZMPOP", "ZRANGESTORE", "ZMSCORE", "SMISMEMBER",
		"XADD", "XREAD", "XREADGROUP", "FUNCTION", "FCALL", "EVAL_RO", "EVALSHA_RO", "HELLO")
}

// MaxMemory limits the memory in bytes; writes beyond it are refused (noeviction).
func MaxMemory(bytes int) Option {
	return Args("--maxmemory", strconv.Itoa(bytes), "--maxmemory-policy", "noeviction")
}

// ReplicaOf makes the server a read-only replica of another.
func ReplicaOf(master *Server) Option {
	return func(s *Server) {
		host, port, _ := net.SplitHostPort(master.Addr())
		s.args = append(s.args, "--slaveof", host, port)
		if master.password != "" {
			s.args = append(s.args, "--masterauth", master.password)
		}
	}
}

// Sentinel makes the server a Sentinel that alone watches over a master and fails
// over within seconds.
func Sentinel(name string, master *Server) Option {
	return func(s *Server) {
		s.sentinel = fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 1\n"+
			"sentinel down-after-milliseconds %[1]s 500\nsentinel failover-timeout %[1]s 2000\n", name, master.port)
	}
}
