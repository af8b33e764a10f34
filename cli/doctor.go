package cli

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/apium/apium/internal/doctor"
	"github.com/apium/apium/internal/fromsettings"
	"github.com/apium/apium/protocol"
	"github.com/apium/apium/protocol/compression"
	"github.com/apium/apium/protocol/serializer"
	"github.com/apium/apium/settings"
)

func (p *program) doctorCommand() *cli.Command {
	timeout := seconds(time.Second)
	return &cli.Command{
		Name:  "doctor",
		Usage: "look for what is wrong with settings, broker, results and workers, Python's too",
		Description: "Says what it finds, what that means and what to do. It changes nothing. The status is 1 if there are errors (with\n" +
			"--strict: or warnings), 2 if the settings or the app cannot be read, and 69 if broker or result backend cannot be reached.",
		Flags: []cli.Flag{
			&cli.GenericFlag{Name: "timeout", Aliases: []string{"t"}, Value: &timeout, Usage: "wait `SECONDS` for the workers' answers"},
			&cli.BoolFlag{Name: "strict", Usage: "warnings make the status 1, too", DisableDefaultText: true},
			jsonFlag(),
		},
		Action: p.runDoctor,
	}
}

func (p *program) runDoctor(c *cli.Context) error {
	if err := noArguments(c); err != nil {
		return err
	}
	patient, err := p.patient(c)
	var unreadable *UsageError
	var unloaded *settings.Error
	switch {
	case errors.As(err, &unreadable):
		return errors.Join(p.tell(c, doctor.Unreadable(unreadable.Message)), statusError(exitUsage))
	case errors.As(err, &unloaded):
		return errors.Join(p.tell(c, doctor.Unreadable(unloaded.Error())), statusError(exitUsage))
	case err != nil:
		return err
	}
	ctx, stop := signal.NotifyContext(c.Context, os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := doctor.Examine(ctx, patient)
	if err != nil {
		return err
	}
	if err := p.tell(c, report); err != nil {
		return err
	}
	switch {
	case report.Unreachable:
		return statusError(exitUnavailable)
	case report.Count(doctor.Error) > 0 || c.Bool("strict") && report.Count(doctor.Warning) > 0:
		return statusError(exitFailure)
	}
	return nil
}

// patient is what the flags, the app and the settings lead to.
func (p *program) patient(c *cli.Context) (*doctor.Patient, error) {
	described, err := p.describe(c)
	if err != nil {
		return nil, err
	}
	conf, err := loadSettings(c, nil, described.Settings)
	if err != nil {
		return nil, err
	}
	signed, err := signedBy(described.Signing)
	if err != nil {
		return nil, err
	}
	places := fromsettings.URLs(conf)
	places.Python = fromsettings.Python{Stores: described.Settings != nil}
	if err := places.Read(conf); err != nil {
		return nil, usage(c, err, false)
	}
	patient := &doctor.Patient{
		Settings: conf, Places: &places, Software: described.Software, Signed: signed, Program: p.name, Timeout: flagSeconds(c, "timeout"),
		Decoder: protocol.Decoder{Location: conf.Location(), Serializer: serializer.Signing(signed), Decompress: compression.Decompress},
	}
	patient.Decoder.Accept, err = protocol.NewAccept(conf.AcceptContent...)
	return patient, err
}

// tell prints a report.
func (p *program) tell(c *cli.Context, r *doctor.Report) error {
	if c.Bool("json") {
		return p.printJSON(r)
	}
	_, err := fmt.Fprint(p.stdout, doctorText(r, p.painter(c)))
	return err
}

// doctorColors are those of the severities.
var doctorColors = map[doctor.Severity]string{doctor.Error: "1;31", doctor.Warning: "1;33", doctor.Note: "1;36"}

// doctorText is a report for people to read.
func doctorText(r *doctor.Report, paint func(text, color string) string) string {
	var b strings.Builder
	if seen := seenText(&r.Seen); seen != "" {
		b.WriteString(seen + "\n\n")
	}
	for _, f := range r.Findings {
		label := strings.ToUpper(string(f.Severity))
		fmt.Fprintf(&b, "%s%s %s\n", paint(label, doctorColors[f.Severity]), strings.Repeat(" ", len("WARNING")-len(label)), f.Title)
		for _, line := range f.Details {
			b.WriteString(wrapped(line, "          ", "            "))
		}
		if f.Meaning != "" {
			b.WriteString(wrapped(f.Meaning, "        ", "        "))
		}
		if f.Advice != "" {
			b.WriteString(wrapped(f.Advice, "     -> ", "        "))
		}
		b.WriteString("\n")
	}
	for _, u := range r.Unseen {
		b.WriteString(wrapped("Not looked at: "+u.What+": "+u.Why, "", "    "))
	}
	if len(r.Unseen) > 0 {
		b.WriteString("\n")
	}
	b.WriteString(verdict(r) + "\n")
	return b.String()
}

// seenText says in a line or two what was looked at.
func seenText(s *doctor.Seen) string {
	if s.Broker == "" {
		return ""
	}
	line := s.Broker
	if s.Server != "" {
		line = s.Server + " at " + line
	}
	switch s.Results {
	case "":
		line += ", no results"
	case s.Broker:
		line += ", results there, too"
	default:
		line += ", results in " + s.Results
	}
	apium := 0
	for _, w := range s.Workers {
		if w.IsApium() {
			apium++
		}
	}
	return fmt.Sprintf("%s\n%d %s of Celery, %d of Apium; %d %s, %d %s waiting", line,
		len(s.Workers)-apium, plural(len(s.Workers)-apium, "worker"), apium, s.Queues, plural(s.Queues, "queue"), s.Waiting, plural(s.Waiting, "message"))
}

// verdict is the last line.
func verdict(r *doctor.Report) string {
	errs, warnings := r.Count(doctor.Error), r.Count(doctor.Warning)
	if errs+warnings == 0 {
		return fmt.Sprintf("All is well: %d checks, nothing to do.", len(doctor.Checks()))
	}
	return fmt.Sprintf("%d %s, %d %s.", errs, plural(errs, "error"), warnings, plural(warnings, "warning"))
}

// wrapped breaks a text into lines, of which the first begins differently.
func wrapped(text, first, rest string) string {
	const width = 110
	var b strings.Builder
	line := first
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && len(line)+1+len(word) > width {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, empty = rest, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}
