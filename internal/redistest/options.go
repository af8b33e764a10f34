package redistest

import (
	"fmt"
	"net"
	"strconv"
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

// Redis32 removes the commands on lists, strings and sorted sets that Redis 3.2
// does not have yet.
func Redis32() Option {
	return Without("BLMOVE", "LMOVE", "BLMPOP", "LMPOP", "LPOS", "GETDEL", "GETEX", "COPY", "UNLINK",
		"ZPOPMIN", "ZPOPMAX", "BZPOPMIN", "BZPOPMAX", "ZMPOP", "BZMPOP", "ZRANGESTORE", "ZMSCORE", "SMISMEMBER",
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
