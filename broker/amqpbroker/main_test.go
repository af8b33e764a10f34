package amqpbroker

import (
	"os"
	"testing"

	"github.com/apium/apium/internal/rabbittest"
)

func TestMain(m *testing.M) {
	code := m.Run()
	rabbittest.Stop()
	os.Exit(code)
}
