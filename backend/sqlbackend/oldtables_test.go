package sqlbackend_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apium/apium/backend"
	"github.com/apium/apium/backend/backendtest"
	"github.com/apium/apium/backend/sqlbackend"
	"github.com/apium/apium/internal/sqltest"
)

// TestWithoutGroupResults: django-celery-results before 2.1 has no table of groups, and results are stored all the same.
func TestWithoutGroupResults(t *testing.T) {
	t.Parallel()
	db, cfg := database(t, sqltest.SQLite, sqlbackend.Django)
	db.Exec(t, "DROP TABLE django_celery_results_groupresult")
	b := open(t, cfg)
	if err := b.Store(t.Context(), backendtest.Record("SUCCESS", "a", "1")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.LoadGroup(t.Context(), "g"); !errors.Is(err, backend.ErrNotFound) {
		t.Errorf("LoadGroup: %v", err)
	}
	if err := b.SaveGroup(t.Context(), "g", []byte(`{"result": [["g", null], []]}`)); err == nil || !strings.Contains(err.Error(), "migrate django_celery_results") {
		t.Errorf("SaveGroup: %v", err)
	}
	if err := b.DeleteGroup(t.Context(), "g"); err != nil {
		t.Errorf("DeleteGroup: %v", err)
	}
	cfg.Expires = 1
	if n, err := open(t, cfg).Cleanup(t.Context()); n != 1 || err != nil {
		t.Errorf("Cleanup: %d, %v", n, err)
	}
}
