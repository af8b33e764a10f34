package cli

import (
	"fmt"
	"os"
	"regexp"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/python"
	"github.com/apium/apium/settings"
)

// namesApp tells whether an app is named whose settings and tasks are to be read from Python.
func namesApp(c *cli.Context) bool {
	return c.String("app") != "" && settingsFile(c) == "" && !c.Bool("embedded")
}

// settingsFile is what --config names, unless that is a Python module beside an app, as Celery
// has it.
func settingsFile(c *cli.Context) string {
	config := c.String("config")
	if c.String("app") != "" && isModule(config) {
		return ""
	}
	return config
}

var moduleName = regexp.MustCompile(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)

// isModule tells names of Python modules from those of files.
func isModule(name string) bool {
	if settings.IsFileName(name) || !moduleName.MatchString(name) {
		return false
	}
	_, err := os.Stat(name)
	return err != nil
}

// describe has Python say what the app is that -A names; nothing, if none is named. What its code
// prints is no answer of ours.
func (p *program) describe(c *cli.Context) (*python.Description, error) {
	if !namesApp(c) {
		return &python.Description{}, nil
	}
	d, err := python.Describe(c.Context, p.described(c))
	if err != nil {
		return nil, notLoaded(c, err, "")
	}
	return d, nil
}

// described is the app that -A names, for who only asks what it is.
func (p *program) described(c *cli.Context) python.Options {
	return python.Options{
		Interpreter: c.String("python"), App: c.String("app"), Argv: p.pythonArgv(), Environ: appEnvironment(c), Stdout: os.Stderr,
	}
}

// describePeriodic is describe for who sends periodic tasks.
func (p *program) describePeriodic(c *cli.Context) (*python.Periodic, error) {
	if !namesApp(c) {
		return &python.Periodic{}, nil
	}
	d, err := python.DescribePeriodic(c.Context, p.described(c))
	if err != nil {
		return nil, notLoaded(c, err, "")
	}
	return d, nil
}

// pythonArgv is the command line as Celery's own program would have got it.
func (p *program) pythonArgv() []string { return append([]string{"celery"}, p.args...) }

// commandSettings are the settings of a command that talks to workers: those of the app that is
// named, or of a file, and what the environment and flags say.
func (p *program) commandSettings(c *cli.Context) (*settings.Settings, error) {
	conf, _, err := p.commandApp(c)
	return conf, err
}

// commandApp returns these settings, and what the app signs with; nil: it does not.
func (p *program) commandApp(c *cli.Context) (*settings.Settings, protocol.Serializer, error) {
	d, err := p.describe(c)
	if err != nil {
		return nil, nil, err
	}
	conf, err := loadSettings(c, nil, d.Settings)
	if err != nil {
		return nil, nil, err
	}
	signed, err := signedBy(d.Signing)
	return conf, signed, err
}

func signedBy(keys *serializer.Keys) (protocol.Serializer, error) {
	if keys == nil {
		return nil, nil //nolint:nilnil // nothing is signed
	}
	return serializer.NewSigned(*keys)
}

// checkBroker refuses an app that names no broker: ours is hardly the one.
func checkBroker(c *cli.Context, conf *settings.Settings) error {
	if conf.BrokerURL != "" || conf.BrokerReadURL != "" {
		return nil
	}
	return usage(c, fmt.Errorf("the app '%s' names no broker, and Celery would take amqp://guest@localhost// then: name the broker with -b", c.String("app")), false)
}
