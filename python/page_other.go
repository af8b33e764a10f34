//go:build !linux

package python

import (
	"errors"
	"os"
)

// memoryFile returns a file that has no name.
func memoryFile() (*os.File, error) {
	file, err := os.CreateTemp("", "apium-page-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
