package python

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
)

// page is memory that this process, the fork server and a child share: Page in driver/child.py.
// So it tells what the child had begun, even when the fork server has ended along with it.
type page struct{ file *os.File }

// newPage returns a page, and the file by which others map it.
func newPage() (*page, error) {
	file, err := memoryFile()
	if err != nil {
		return nil, fmt.Errorf("python: no memory to share with a child: %w", err)
	}
	if err := file.Truncate(int64(os.Getpagesize())); err != nil {
		return nil, errors.Join(fmt.Errorf("python: no memory to share with a child: %w", err), file.Close())
	}
	return &page{file}, nil
}

// begun is the number of the last job that the child has begun.
func (p *page) begun() uint64 { return p.number(0) }

// claimed tells whether the child has claimed a chord whose body it is about to publish.
func (p *page) claimed() bool { return p.number(3) != 0 }

// number reads one of the numbers; anyJob if it cannot be read.
func (p *page) number(index int64) uint64 {
	var number [8]byte
	if _, err := p.file.ReadAt(number[:], index*int64(len(number))); err != nil {
		return anyJob
	}
	return binary.NativeEndian.Uint64(number[:])
}

func (p *page) close() { _ = p.file.Close() }
