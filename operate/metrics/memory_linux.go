package metrics

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
)

// memoryOf adds up the memory of processes, in bytes. One that has just ended has none.
func memoryOf(pids []int) (rss, pss int64, ok bool) {
	for _, pid := range pids {
		rollup, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid)) // since Linux 4.14
		if err != nil {
			continue
		}
		rss += kilobytes(rollup, "\nRss:")
		pss += kilobytes(rollup, "\nPss:")
		ok = true
	}
	return rss << 10, pss << 10, ok
}

// kilobytes reads the number of a line such as "Rss:    1234 kB".
func kilobytes(rollup []byte, name string) int64 {
	_, rest, _ := bytes.Cut(rollup, []byte(name))
	number, _, _ := bytes.Cut(bytes.TrimLeft(rest, " "), []byte(" "))
	n, err := strconv.ParseInt(string(number), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
