// Package wholefile writes files that are never seen half written.
package wholefile

import (
	"errors"
	"os"
	"path/filepath"
)

// Write writes a file anew: a reader, and a process that dies meanwhile, finds the old one or the new one. Its
// mode is 0600.
func Write(path string, content []byte) error {
	file, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	err = errors.Join(err, file.Sync(), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(file.Name()))
	}
	return nil
}
