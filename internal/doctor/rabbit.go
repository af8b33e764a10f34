package doctor

import (
	"context"

	"github.com/apium/apium/broker"
	"github.com/apium/apium/internal/fromsettings"
)

// rabbitServer is what a RabbitMQ says of itself.
type rabbitServer struct {
	version string
	blocked string // why it takes no messages; "": it does
}

// versioned is implemented by a Management of RabbitMQ.
type versioned interface {
	ServerVersion(ctx context.Context) (string, error)
}

// askRabbit looks at a RabbitMQ that was sent something.
func (f *facts) askRabbit(ctx context.Context, publisher fromsettings.Publisher, m broker.Management) {
	server, ok := m.(versioned)
	if !ok {
		return
	}
	f.rabbit = &rabbitServer{}
	var err error
	f.rabbit.version, err = server.ServerVersion(ctx)
	f.missed("the version of RabbitMQ", err)
	if watched, ok := publisher.(fromsettings.Watched); ok {
		if reason, blocked := watched.Blocked(); blocked {
			f.rabbit.blocked = reason
		}
	}
}

func rabbitBlocked(f *facts) []Finding {
	if f.rabbit == nil || f.rabbit.blocked == "" {
		return nil
	}
	return []Finding{{
		Severity: Error, Title: "RabbitMQ takes no messages", Details: []string{"it says: " + f.rabbit.blocked},
		Meaning: "Its memory or disk is short. Whoever sends waits until that is over; workers cannot publish retries and what follows from tasks.",
		Advice:  "rabbitmq-diagnostics alarms says which. Free disk space, or consume or purge long queues.",
	}}
}
