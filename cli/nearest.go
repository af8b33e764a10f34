package cli

import "strings"

// didYouMean suggests the known name nearest to a misspelt one, or nothing.
func didYouMean(name string, known []string, prefix string) string {
	best, bestDistance := "", max(2, len(name)/3)+1
	for _, k := range known {
		d := editDistance(name, k)
		if strings.HasPrefix(k, name) {
			d = min(d, 1)
		}
		if d < bestDistance {
			best, bestDistance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return " Did you mean '" + prefix + best + "'?"
}

// editDistance counts the letters to insert, remove or change to turn a into b.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j]+1, row[j+1]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
