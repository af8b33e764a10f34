package tasks

import (
	"fmt"
	"hash/fnv"
	"math"
	"strconv"
	"strings"
)

// Share is which part of a task's messages a worker takes, in hundredths of a percent. Which
// messages these are follows from their tasks' ids: for all workers and all retries they are the
// same, and those of a small share are among those of a larger one.
type Share int

// WholeShare are all messages.
const WholeShare Share = 100 * 100

// ParseShare reads a share in percent, such as "10%", "0.5%" or "10".
func ParseShare(text string) (Share, error) {
	number := strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(text), "%"))
	percent, err := strconv.ParseFloat(number, 64)
	if err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("'%s' is no percentage from 0 to 100", text)
	}
	share := Share(math.Round(percent * 100))
	if share == 0 && percent > 0 {
		return 0, fmt.Errorf("'%s' is less than 0.01%%, the smallest share that is not nothing", text)
	}
	return share, nil
}

// String is what ParseShare reads.
func (s Share) String() string { return strconv.FormatFloat(float64(s)/100, 'f', -1, 64) + "%" }

// Takes tells whether the message of the task of that id is part of the share.
func (s Share) Takes(id string) bool {
	switch {
	case s >= WholeShare:
		return true
	case s <= 0:
		return false
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // it cannot fail
	hash := h.Sum64()
	hash ^= hash >> 32 // ids that differ in their last byte only differ in few of the high bits, and in all below
	return Share(hash%uint64(WholeShare)) < s
}
