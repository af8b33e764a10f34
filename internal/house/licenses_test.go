package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// licenses are those that a program under this module's own may be made of, by what their texts say.
var licenses = []struct{ name, says string }{
	{"Apache-2.0", "Apache License Version 2.0, January 2004"},
	{"MPL-2.0", "Mozilla Public License Version 2.0"},
	{"MIT", "Permission is hereby granted, free of charge, to any person obtaining a copy"},
	{"BSD", "Redistribution and use in source and binary forms, with or without modification, are permitted"},
}

// forbidden are words of licences that ask more of who links a module.
var forbidden = []string{"GNU GENERAL PUBLIC LICENSE", "GNU AFFERO", "GNU LESSER GENERAL PUBLIC", "Business Source License", "Server Side Public License", "Commons Clause"}

// licenseOf reads the licence of a module in a directory; "": it has none, or another one.
func licenseOf(t *testing.T, dir string) (name, text string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		base, _, _ := strings.Cut(strings.ToUpper(entry.Name()), ".")
		if entry.IsDir() || !slices.Contains([]string{"LICENSE", "LICENCE", "COPYING"}, base) {
			continue
		}
		raw, err := os.ReadFile(filepath.Join(dir, entry.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text += strings.Join(strings.Fields(strings.ReplaceAll(string(raw), ">", " ")), " ") + "\n"
	}
	for _, l := range licenses {
		if strings.Contains(strings.ToLower(text), strings.ToLower(l.says)) {
			return l.name, text
		}
	}
	return "", text
}

// TestLicenses: every module in the program, and in the packages that programs of users may import besides, has a licence that is known and asks for no more than to be named.
func TestLicenses(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{if not .Main}}{{.Path}} {{.Dir}}{{end}}{{end}}", ".", "./tasks/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	slices.Sort(lines)
	lines = slices.DeleteFunc(slices.Compact(lines), func(line string) bool { return line == "" })
	if len(lines) < 20 {
		t.Fatalf("only %d modules", len(lines))
	}
	for _, line := range lines {
		path, dir, _ := strings.Cut(line, " ")
		name, text := licenseOf(t, dir)
		if name == "" {
			t.Errorf("%s has no licence that is known here: read it, and add its words or do without the module", path)
		}
		for _, words := range forbidden {
			if strings.Contains(strings.ToUpper(text), strings.ToUpper(words)) && name != "MPL-2.0" { // which names the others
				t.Errorf("%s: its licence has the words %q", path, words)
			}
		}
	}
}
