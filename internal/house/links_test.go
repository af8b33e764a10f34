package house_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
)

// pages are all that is to be read in the repository.
func pages(t *testing.T) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"*.md", "docs/*.md", "bench/*.md", "operate/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchors are the names of a page's headings, as GitHub makes them.
func anchors(text string) (names []string) {
	for _, title := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(text, ""), -1) {
		name := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r > 127:
				return r
			}
			return -1
		}, strings.ToLower(title[1]))
		names = append(names, name)
	}
	return names
}

// What a page links to is there.
func TestLinks(t *testing.T) {
	t.Parallel()
	found := 0
	for _, page := range pages(t) {
		for _, target := range link.FindAllStringSubmatch(fenced.ReplaceAllString(read(t, page), ""), -1) {
			if strings.Contains(target[1], "://") {
				continue
			}
			found++
			path, anchor, _ := strings.Cut(target[1], "#")
			to := page
			if path != "" {
				to = filepath.Join(filepath.Dir(page), path)
			}
			if _, err := os.Stat(to); err != nil {
				t.Errorf("%s: (%s) is not there", page, target[1])
				continue
			}
			if anchor != "" && !slices.Contains(anchors(read(t, to)), anchor) {
				t.Errorf("%s: %s has no heading #%s", page, to, anchor)
			}
		}
	}
	if found < 40 {
		t.Errorf("only %d links were found", found)
	}
}

// Every page is one link away from the README.
func TestReadmeLeadsToAllPages(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	for _, page := range pages(t) {
		if page != "README.md" && !strings.Contains(readme, "]("+filepath.ToSlash(page)) {
			t.Errorf("the README has no link to %s", page)
		}
	}
}
