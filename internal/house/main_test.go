// Package house_test holds the repository to its own rules: what may import what, what log
// lines look like, that the examples in the documentation work.
package house_test

import (
	"fmt"
	"os"
	"testing"
)

// The tests look at the whole repository, from its root.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
