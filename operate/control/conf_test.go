package control_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/apium/apium/operate/control"
)

// Settings are shown without passwords, wherever these stand.
func TestCensor(t *testing.T) {
	t.Parallel()
	for shown, url := range map[string]string{
		"redis://u:********@h/0":                              "redis://u:S3@h/0",
		"redis://:********@h/0":                               "redis://:S3@h/0",
		"redis://u:********@h:1/1":                            "redis://u:12/S3@h:1/1", // which kombu takes for host, port and database
		"redis://u:********@h/2":                              "redis://u:a#S3?@h/2",
		"redis://u:********@h/3":                              "redis://u:x@S3:@h/3",
		"redis://h:1/0?password=********&db=1":                "redis://h:1/0?password=S3&db=1",
		"redis+socket:///s?sslPassword=********":              "redis+socket:///s?sslPassword=S3",
		"sentinel://:********@a:1;sentinel://:********@b:2/0": "sentinel://:S3@a:1;sentinel://:S3@b:2/0",
		"amqp://u:********@a//;amqp://h//":                    "amqp://u:S3;S3@a//;amqp://h//",
		"//u:********@h":                                      "//u:S3@h",
		"redis//:********@h":                                  "redis//:S3@h",
		"http://h:80/path?x=1":                                "http://h:80/path?x=1",
		"amqp://guest@h//":                                    "amqp://guest@h//",
		"'db+mysql://u:********@h/d', no URL: a@b":            "'db+mysql://u:S3@h/d', no URL: a@b",
	} {
		settings := map[string]any{
			"broker_url": url, "broker_read_url": []any{url, 1}, "beat_schedule": map[string]any{"e": map[string]any{"args": []string{url}}},
			"mongodb_backend_settings": map[string]any{"host": url, "password": "S3"}, "redis_password": "S3", "apium_park_after": 5,
		}
		want := map[string]any{
			"broker_url": shown, "broker_read_url": []any{shown, 1}, "beat_schedule": map[string]any{"e": map[string]any{"args": []string{shown}}},
			"mongodb_backend_settings": map[string]any{"host": shown, "password": "********"}, "redis_password": "********", "apium_park_after": 5,
		}
		if diff := cmp.Diff(want, control.Censor(settings)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
		if report := control.Report(control.About{}, settings); strings.Contains(report, "S3") {
			t.Errorf("%s: the report says\n%s", url, report)
		}
	}
}
