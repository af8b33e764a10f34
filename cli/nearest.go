package cli

import "github.com/apium/apium/internal/nearest"

// didYouMean suggests the known name nearest to a misspelt one, or nothing.
func didYouMean(name string, known []string, prefix string) string {
	best := nearest.Name(name, known)
	if best == "" {
		return ""
	}
	return " Did you mean '" + prefix + best + "'?"
}
