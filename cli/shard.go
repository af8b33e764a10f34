package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"regexp"
	"strings"
	"sync"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/app"
	"github.com/apium/apium/internal/nodename"
	"github.com/apium/apium/python"
	"github.com/apium/apium/tasks"
	"github.com/apium/apium/tasks/sample"
)

// shard is a worker of this process, on a broker of its own: one for each --shard, or the only one.
//
// It is read from a command line of its own: the one that was given, with the shard's -b, --result-backend and -n.
// So everything that is made of these, up to what a Python app is told in its environment, is what a process
// for this broker alone would have.
type shard struct {
	name    string // "": there are no shards, and this is the worker
	c       *cli.Context
	project *python.App // nil: no Python
	s       *workerSettings
}

// shardFlag names a broker, of which there may be several.
const shardFlag = "shard"

func shardFlags() []cli.Flag {
	return []cli.Flag{
		texts(workerCategory, shardFlag, "one of several brokers: for `NAME=BROKER_URL[,RESULT_BACKEND]` this process has a worker of its own; "+
			"repeatable, or in the environment separated by spaces"),
	}
}

var (
	shardName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]*$`)
	// resultsAfter is where the URL of a result backend begins.
	resultsAfter = regexp.MustCompile(`,[A-Za-z][A-Za-z0-9_+.-]*:/`)
)

// readShards returns the workers of this process.
func readShards(c *cli.Context) (all []*shard, err error) {
	for _, value := range c.StringSlice(shardFlag) {
		for field := range strings.FieldsSeq(value) { // several, in the environment
			sh, err := readShard(c, field)
			if err != nil {
				return nil, fmt.Errorf("invalid value for '--%s': %w", shardFlag, err)
			}
			for _, other := range all {
				if other.name == sh.name {
					return nil, fmt.Errorf("invalid value for '--%s': two are named '%s': give each a name of its own", shardFlag, sh.name)
				}
			}
			all = append(all, sh)
		}
	}
	if len(all) == 0 {
		return []*shard{{c: c}}, nil
	}
	return all, checkBesideShards(c)
}

// checkBesideShards refuses what means nothing with --shard.
func checkBesideShards(c *cli.Context) error {
	for _, f := range []struct{ flag, name, why string }{
		{"broker", "-b/--broker", "--shard names the brokers. Leave it out (and CELERY_BROKER_URL in the environment), or make it another --shard NAME=URL"},
		{"embedded", "--embedded", "the embedded Redis is the only broker. Leave one of them out"},
		{"beat", "-B/--beat", "each of the brokers would be sent all periodic tasks. Start a beat for the one that is to have them: beat -b URL"},
	} {
		if c.IsSet(f.flag) {
			return fmt.Errorf("option '%s' cannot be had with --%s: %s", f.name, shardFlag, f.why)
		}
	}
	return nil
}

// readShard reads NAME=BROKER_URL[,RESULT_BACKEND]. Errors do not show the URLs, which may have passwords.
func readShard(c *cli.Context, value string) (*shard, error) {
	name, urls, named := strings.Cut(value, "=")
	const form = "write NAME=BROKER_URL or NAME=BROKER_URL,RESULT_BACKEND, such as orders=redis://redis-1:6379/0,redis://redis-1:6379/1"
	switch {
	case !named || strings.Contains(name, "://"):
		return nil, errors.New("a broker without a name: " + form)
	case !shardName.MatchString(name):
		return nil, fmt.Errorf("'%s' is no name for a shard, which has letters, digits, and - _ . between them", name)
	case urls == "" || urls[0] == ',':
		return nil, fmt.Errorf("'%s' has no broker: %s", name, form)
	}
	results := ""
	if at := resultsAfter.FindStringIndex(urls); at != nil {
		urls, results = urls[:at[0]], urls[at[0]+1:]
	}
	if !strings.Contains(urls, "://") {
		return nil, fmt.Errorf("the broker of '%s' is no URL: %s", name, form)
	}
	return &shard{name: name, c: shardContext(c, name, urls, results)}, nil
}

// shardContext is the command line of a shard's worker.
func shardContext(c *cli.Context, name, broker, results string) *cli.Context {
	set := flag.NewFlagSet(c.Command.Name, flag.ContinueOnError)
	give := func(flag, value string) {
		set.String(flag, "", "")
		_ = set.Set(flag, value) // takes any text
	}
	give("broker", broker)
	if results != "" {
		give("result-backend", results)
	}
	give("hostname", shardHostname(c, name))
	whole := nodename.Of(c.String("hostname"), nodename.Host())
	for _, file := range []string{"logfile", "pidfile"} { // of the process
		if c.IsSet(file) {
			give(file, nodename.Path(c.String(file), whole))
		}
	}
	_ = set.Parse(append([]string{"--"}, c.Args().Slice()...)) // has no flags
	own := cli.NewContext(c.App, set, c)
	own.Command = c.Command
	return own
}

// shardHostname is the node name: orders@%h, or w1-orders@%h if w1@%h was given. So all of Celery's ways to say which worker
// it is tell shards apart, and %n in the name of a file does.
func shardHostname(c *cli.Context, name string) string {
	if !c.IsSet("hostname") {
		return name + "@%h"
	}
	node, host, found := strings.Cut(c.String("hostname"), "@")
	switch {
	case !found:
		return name + "@" + node // as in Celery, that is a host
	case node == "":
		return name + "@" + host
	}
	return node + "-" + name + "@" + host
}

// of names the shard in an error.
func (sh *shard) of(err error) error {
	if err == nil || sh.name == "" {
		return err
	}
	var wrong *UsageError
	if errors.As(err, &wrong) {
		return &UsageError{Command: wrong.Command, Message: "Shard " + sh.name + ": " + wrong.Message}
	}
	return fmt.Errorf("shard %s: %w", sh.name, err)
}

// loadApps loads the Python app, if one is named, once for each shard: all at the same time.
func (p *program) loadApps(ctx context.Context, shards []*shard) error {
	errs := make([]error, len(shards))
	var loading sync.WaitGroup
	for i, sh := range shards {
		loading.Go(func() {
			var err error
			sh.project, err = p.loadApp(ctx, sh.c)
			errs[i] = sh.of(err)
		})
	}
	loading.Wait()
	for _, err := range errs { // the others are most often the same
		if err != nil {
			return err
		}
	}
	return nil
}

func closeApps(shards []*shard) {
	for _, sh := range shards {
		if sh.project != nil {
			sh.project.Close()
		}
	}
}

// read reads what the worker of a shard is to be.
func (p *program) read(sh *shard) (err error) {
	if sh.s, err = readWorkerSettings(sh.c, sh.project); err != nil {
		return sh.of(err)
	}
	if sh.project != nil && sample.Only(p.reg) && !sh.c.Bool(demoTasksFlag) {
		p.reg = tasks.NewRegistry() // the app's tasks are what is wanted
	}
	p.warnOfLost(sh.s, sh.project)
	p.warnOfShares(sh.s)
	if err := p.checkTasks(sh.c, sh.s); err != nil {
		return usage(sh.c, err, false)
	}
	return nil
}

// make makes the worker, which connects to nothing yet.
func (p *program) make(sh *shard) (*app.Worker, error) {
	sh.s.opts.Logger = sh.s.log
	if sh.s.purge {
		sh.s.opts.Purge = func(messages int) { sh.s.purged(p.stdout, messages) }
	}
	w, err := app.NewWorker(context.WithoutCancel(sh.c.Context), p.reg, sh.s.conf, sh.s.opts)
	if err != nil {
		return nil, sh.of(usage(sh.c, err, false))
	}
	return w, nil
}

// logger is the worker's: each line names the shard.
func (sh *shard) logger(out io.Writer, color bool) *slog.Logger {
	log := sh.s.logger(out, color)
	if sh.name == "" {
		return log
	}
	return log.With("shard", sh.name)
}
