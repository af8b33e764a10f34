package cli

import (
	"fmt"
	"os"
	"path/filepath"
)

// logFile is a log file that is opened again when it was moved or removed, as by logrotate:
// Python's WatchedFileHandler. It is looked after before each write; a lineWriter groups them.
type logFile struct {
	path string
	file *os.File
	info os.FileInfo
}

func openLogFile(path string) (*logFile, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	f := &logFile{path: path}
	return f, f.open()
}

func (f *logFile) open() error {
	file, err := os.OpenFile(f.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("log file: %w", err)
	}
	info, err := file.Stat()
	if err != nil {
		_ = file.Close()
		return fmt.Errorf("log file: %w", err)
	}
	if f.file != nil {
		_ = f.file.Close()
	}
	f.file, f.info = file, info
	return nil
}

// Write writes to the file of that name. If it cannot be opened again, the old one has to do.
func (f *logFile) Write(lines []byte) (int, error) {
	if info, err := os.Stat(f.path); err != nil || !os.SameFile(info, f.info) {
		_ = f.open() // tried again with the next write
	}
	return f.file.Write(lines)
}

func (f *logFile) Close() error { return f.file.Close() }
