package tasks_test

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/apium/apium/tasks"
)

// The table of self.request in docs/handlers.md names attributes that exist, and all of them.
func TestDocumentedRequest(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/handlers.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "## self.request")
	table, _, _ = strings.Cut(table, "\n## ")
	named := map[string]bool{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) == 4 {
			for _, match := range regexp.MustCompile("`([A-Z]\\w*)`").FindAllStringSubmatch(cells[2], -1) {
				named[match[1]] = true
			}
		}
	}
	request := reflect.TypeFor[tasks.Request]()
	for name := range named {
		if _, ok := request.FieldByName(name); !ok {
			t.Errorf("tasks.Request has no %s", name)
		}
	}
	own := map[string]bool{ // of no concern to handlers, or explained elsewhere
		"Task": true, "Failed": true, "Execution": true, "Log": true, "Protocol": true, "DeliveryTag": true, "ContentType": true, "NoPriority": true, "Inset": true,
	}
	for _, field := range reflect.VisibleFields(request) {
		if field.IsExported() && len(field.Index) < 3 && !named[field.Name] && !own[field.Name] {
			t.Errorf("docs/handlers.md does not name %s", field.Name)
		}
	}
}
