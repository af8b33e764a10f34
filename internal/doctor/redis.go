package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/gomodule/redigo/redis"

	"github.com/apium/apium/internal/redisconn"
)

// redisServer is what a Redis says of itself.
type redisServer struct {
	url   string
	holds string            // what is in it: messages, results, or both
	info  map[string]string // INFO, by name; nil: this user may not ask
	save  *string           // its setting save; nil: not known
	clock *window
}

// The words for what a Redis holds.
const (
	holdsMessages = "messages"
	holdsResults  = "results"
	holdsBoth     = "messages and results"
)

// askRedis looks at the Redis of the broker, and that of the results if it is another one.
func (f *facts) askRedis(ctx context.Context) {
	messages, results, err := f.Places.RedisServers()
	if err != nil {
		f.missed("Redis", err)
		return
	}
	if f.resultsErr != nil {
		results = nil
	}
	if messages != nil {
		f.redis = &redisServer{url: messages.String(), holds: holdsMessages}
		if results != nil && results.Server().Host == messages.Server().Host && results.Server().Port == messages.Server().Port {
			f.redis.holds, results = holdsBoth, nil
		}
		f.askServer(ctx, f.redis, messages)
	}
	if results != nil {
		f.results = &redisServer{url: results.String(), holds: holdsResults}
		f.askServer(ctx, f.results, results)
	}
}

// askServer asks one Redis.
func (f *facts) askServer(ctx context.Context, s *redisServer, cfg *redisconn.Config) {
	conn, err := cfg.Dial(ctx)
	if err != nil {
		f.missed("the server "+s.url, err)
		return
	}
	defer conn.Close()
	do := func(command string, args ...any) (any, error) {
		reply, err := redis.DoContext(conn, ctx, command, args...)
		return reply, redisconn.Explained(err, command, args...)
	}
	info, err := redis.Bytes(do("INFO"))
	if err != nil {
		f.missed("version, memory and persistence of "+s.url, err)
	} else {
		s.info = fieldsOf(info)
	}
	asked := f.Now()
	now, err := redis.Int64s(do("TIME"))
	if err != nil || len(now) < 2 {
		f.missed("the clock of "+s.url, err)
	} else {
		shown := unixMicro(now[0], now[1])
		s.clock = &window{shown.Sub(f.Now()), shown.Sub(asked)}
	}
	setting, err := redis.Strings(do("CONFIG", "GET", "save"))
	switch {
	case err == nil && len(setting) == 2:
		s.save = &setting[1]
	case err != nil && s.info != nil && s.info["aof_enabled"] == "0": // else it matters little
		f.missed("whether "+s.url+" saves to disk", err)
	}
}

// fieldsOf reads the answer to INFO.
func fieldsOf(info []byte) map[string]string {
	fields := map[string]string{}
	for line := range bytes.Lines(info) {
		name, value, ok := strings.Cut(string(bytes.TrimSpace(line)), ":")
		if ok && !strings.HasPrefix(name, "#") {
			fields[name] = value
		}
	}
	return fields
}

// version is that of Redis, or the Redis that a Valkey is like; "": not known.
func (s *redisServer) version() string { return s.info["redis_version"] }

// number is a field that is a number, 0 if it is not there.
func (s *redisServer) number(name string) int64 {
	n, _ := strconv.ParseInt(s.info[name], 10, 64)
	return n
}

// servers are those that said something of themselves.
func (f *facts) servers() (all []*redisServer) {
	for _, s := range []*redisServer{f.redis, f.results} {
		if s != nil && s.info != nil {
			all = append(all, s)
		}
	}
	return all
}

// eachRedis asks for a finding about each Redis; one without a title is none.
func (f *facts) eachRedis(look func(s *redisServer) Finding) (found []Finding) {
	for _, s := range f.servers() {
		if finding := look(s); finding.Title != "" {
			finding.Details = append([]string{s.url + " holds " + s.holds}, finding.Details...)
			found = append(found, finding)
		}
	}
	return found
}

// oldest is the oldest Redis that has all commands which are used.
const oldestMajor, oldestMinor = 3, 2

func redisVersion(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		var major, minor int
		if _, err := fmt.Sscanf(s.version(), "%d.%d", &major, &minor); err != nil || major > oldestMajor || major == oldestMajor && minor >= oldestMinor {
			return Finding{}
		}
		return Finding{
			Severity: Error, Title: fmt.Sprintf("Redis %s is too old", s.version()),
			Meaning: fmt.Sprintf("Workers need commands that Redis has since %d.%d, and will fail.", oldestMajor, oldestMinor),
			Advice:  "Install a newer Redis, or Valkey.",
		}
	})
}

func redisCluster(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		prefixes := []string{f.Settings.BrokerTransportOptions.GlobalKeyprefix, f.Settings.ResultBackendTransportOptions.GlobalKeyprefix}
		switch s.holds {
		case holdsMessages:
			prefixes = prefixes[:1]
		case holdsResults:
			prefixes = prefixes[1:]
		}
		if s.info["cluster_enabled"] != "1" || !slices.ContainsFunc(prefixes, func(prefix string) bool { return !hashTagged(prefix) }) {
			return Finding{}
		}
		return Finding{
			Severity: Error, Title: "Redis is in cluster mode",
			Meaning: "Celery's keys lie on several nodes then, and commands about more than one key fail. Neither Celery's workers nor Apium's work there.",
			Advice: "Use a Redis without cluster-enabled; for high availability, Sentinel (sentinel://). Or keep all keys on one node: " +
				"global_keyprefix with a hash tag, such as {celery}., in broker_transport_options and result_backend_transport_options.",
		}
	})
}

// hashTagged tells whether all keys of a prefix are in one slot of a cluster.
func hashTagged(prefix string) bool {
	_, after, found := strings.Cut(prefix, "{")
	return found && strings.Index(after, "}") > 0
}

func redisReplica(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		if s.info["role"] != "slave" {
			return Finding{}
		}
		master := s.info["master_host"] + ":" + s.info["master_port"]
		return Finding{
			Severity: Error, Title: "Redis is a replica",
			Meaning: "It takes no writes: nothing can be sent, claimed or stored.",
			Advice:  "Name the master (now " + master + ") in the URL, or use sentinel://, which follows it.",
		}
	})
}

func redisSaving(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		var failed []string
		for _, what := range []struct{ field, words string }{
			{"rdb_last_bgsave_status", "the last snapshot failed"},
			{"aof_last_write_status", "the last write to the append-only file failed"},
			{"aof_last_bgrewrite_status", "the last rewrite of the append-only file failed"},
		} {
			if s.info[what.field] == "err" {
				failed = append(failed, what.words)
			}
		}
		if failed == nil {
			return Finding{}
		}
		return Finding{
			Severity: Error, Title: "Redis cannot save to disk", Details: failed,
			Meaning: "By default it then refuses all writes (MISCONF): nothing can be sent, claimed or stored. What is not saved is gone with a restart.",
			Advice:  "See Redis' log. Mostly the disk is full, its directory is not writable, or memory does not suffice for a fork (vm.overcommit_memory).",
		}
	})
}

func redisEviction(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		policy := s.info["maxmemory_policy"]
		switch {
		case s.number("maxmemory") == 0 || policy == "noeviction" || policy == "":
			return Finding{}
		case s.holds == holdsResults:
			return Finding{
				Severity: Warning, Title: "Redis drops results when its memory is full", Details: []string{"maxmemory-policy is " + policy},
				Meaning: "AsyncResult.get() of a result that was dropped waits for ever, and a chord whose counter was dropped never ends.",
				Advice:  "CONFIG SET maxmemory-policy noeviction (and in redis.conf), and see that results expire (result_expires).",
			}
		case strings.HasPrefix(policy, "volatile-"):
			return Finding{
				Severity: Warning, Title: "Redis drops keys that expire when its memory is full", Details: []string{"maxmemory-policy is " + policy},
				Meaning: "Queues stay, but workers' signs of life, results and marks against doubles go: tasks may run twice, and results are missing.",
				Advice:  "CONFIG SET maxmemory-policy noeviction (and in redis.conf).",
			}
		}
		return Finding{
			Severity: Error, Title: "Redis drops queues when its memory is full", Details: []string{"maxmemory-policy is " + policy},
			Meaning: "Any key may go, a whole queue too: its tasks are lost without a word.",
			Advice:  "CONFIG SET maxmemory-policy noeviction (and in redis.conf): senders then get an error, and nothing is lost.",
		}
	})
}

func redisMemory(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		used, most := s.number("used_memory"), s.number("maxmemory")
		if most == 0 || used < most/10*8 {
			return Finding{}
		}
		finding := Finding{
			Severity: Warning, Title: fmt.Sprintf("Redis' memory is %d %% full", used*100/most),
			Details: []string{fmt.Sprintf("%s of %s", bytesOf(used), bytesOf(most))},
			Meaning: "When it is full, sending fails (OOM), or keys are dropped, as maxmemory-policy has it.",
			Advice:  "See which queues are long (" + f.Program + " list queues), whether results expire (result_expires), and raise maxmemory.",
		}
		if used >= most {
			finding.Severity = Error
		}
		return finding
	})
}

// bytesOf is a size as people say it.
func bytesOf(n int64) string {
	for _, unit := range []struct {
		size int64
		name string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}} {
		if n >= unit.size {
			return fmt.Sprintf("%.1f %s", float64(n)/float64(unit.size), unit.name)
		}
	}
	return fmt.Sprintf("%d KiB", n>>10)
}

func redisConnections(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		used, most := s.number("connected_clients"), s.number("maxclients")
		if most == 0 || used < most/10*9 {
			return Finding{}
		}
		return Finding{
			Severity: Warning, Title: fmt.Sprintf("Redis has %d of %d connections", used, most),
			Meaning: "Who connects beyond that is refused: workers do not start, and producers cannot send.",
			Advice:  "Raise maxclients (and the limit of open files), or lower broker_pool_limit, redis_max_connections and the number of workers.",
		}
	})
}

func redisPersistence(f *facts) []Finding {
	return f.eachRedis(func(s *redisServer) Finding {
		if s.holds == holdsResults || s.info["aof_enabled"] != "0" || s.save == nil || *s.save != "" {
			return Finding{}
		}
		return Finding{
			Severity: Warning, Title: "Redis keeps everything in memory only",
			Meaning: "When it is restarted, all tasks that wait, are parked, or run are gone, and so are dead letters.",
			Advice:  "If that matters: CONFIG SET appendonly yes (and in redis.conf).",
		}
	})
}

// brokerAway tells that the broker cannot be reached.
func brokerAway(f *facts) []Finding {
	if f.brokerErr == nil {
		return nil
	}
	return []Finding{{
		Severity: Error, Title: "The broker cannot be reached", Details: f.reasons(f.brokerErr),
		Meaning: "Nothing can be sent, and workers that are there wait. All the rest was not looked at.",
		Advice:  "See whether the server runs, and whether broker_url leads to it (" + f.Program + " report prints the settings).",
	}}
}

func resultsAway(f *facts) []Finding {
	if f.resultsErr == nil {
		return nil
	}
	return []Finding{{
		Severity: Error, Title: "The result backend cannot be reached", Details: append([]string{f.Places.Backend.String()}, f.reasons(f.resultsErr)...),
		Meaning: "Tasks run, but their results are not stored until it is there again; who waits for one waits on, and chords do not go on.",
		Advice:  "See whether the server runs, and whether result_backend leads to it (" + f.Program + " report prints the settings).",
	}}
}

// reasons are an error's lines.
func (f *facts) reasons(err error) []string {
	if errors.Is(err, context.DeadlineExceeded) && err.Error() == context.DeadlineExceeded.Error() {
		return []string{fmt.Sprintf("it did not answer within %v", f.patience())}
	}
	return strings.Split(err.Error(), "\n")
}
