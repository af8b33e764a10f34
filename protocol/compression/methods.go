package compression

import (
	"bufio"
	"compress/bzip2"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	dsnet "github.com/dsnet/compress/bzip2"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// maxWindow is the most memory, in bytes, that a stream may ask for its dictionary.
// What Python's libraries write by default needs 8 MiB.
const maxWindow = 128 << 20

func zlibReader(r io.Reader) (io.Reader, error) { return zlib.NewReader(r) }

func zlibWriter(w io.Writer) (io.WriteCloser, error) {
	writer, _ := zlibWriters.Get().(*zlib.Writer)
	writer.Reset(w)
	return pooled{writer, &zlibWriters}, nil
}

// Writers of zlib and zstd hold hundreds of kilobytes, and are used again.
var (
	zlibWriters = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}
	zstdWriters = sync.Pool{New: func() any {
		writer, err := zstd.NewWriter(io.Discard, zstd.WithEncoderConcurrency(1))
		if err != nil {
			panic(err) // the options are wrong, which a test would have found
		}
		return writer
	}}
)

// pooled is a writer that goes back to its pool when it is closed.
type pooled struct {
	io.WriteCloser
	pool *sync.Pool
}

func (p pooled) Close() error {
	err := p.WriteCloser.Close()
	p.pool.Put(p.WriteCloser)
	return err
}

func bzip2Reader(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil }

func bzip2Writer(w io.Writer) (io.WriteCloser, error) {
	return dsnet.NewWriter(w, &dsnet.WriterConfig{Level: dsnet.BestCompression}) // Python's default
}

func brotliReader(r io.Reader) (io.Reader, error) { return brotli.NewReader(r), nil }

func brotliWriter(w io.Writer) (io.WriteCloser, error) {
	return brotli.NewWriterLevel(w, brotli.DefaultCompression), nil
}

// xzReader looks at the first block's header before the library does: it allocates
// whatever dictionary a header asks for, and 4 GiB may be asked for.
func xzReader(r io.Reader) (io.Reader, error) {
	buffered := bufio.NewReaderSize(r, 4096)
	const streamHeader, maxBlockHeader = 12, 1024
	head, err := buffered.Peek(streamHeader + maxBlockHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if size := dictionary(head[min(streamHeader, len(head)):]); size > maxWindow {
		return nil, fmt.Errorf("its dictionary has %d bytes, more than %d", size, maxWindow)
	}
	return xz.NewReader(buffered)
}

// dictionary finds the size that an xz block header (section 3.1 of the format) with
// one LZMA2 filter, which is what everybody writes, asks for; 0 if it is none.
func dictionary(header []byte) int64 {
	const lzma2 = 0x21
	if len(header) < 2 || header[0] == 0 {
		return 0
	}
	at := 2
	for _, present := range []byte{0x40, 0x80} { // compressed and uncompressed size
		if header[1]&present == 0 {
			continue
		}
		for at < len(header) && header[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if at+3 > len(header) || header[at] != lzma2 {
		return 0
	}
	bits := header[at+2]
	if bits > 40 {
		return 0 // the library refuses it
	}
	return int64(2|bits&1) << (bits/2 + 11)
}

func xzWriter(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) }

func zstdReader(r io.Reader) (io.Reader, error) {
	d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	if err != nil {
		return nil, err
	}
	return d.IOReadCloser(), nil
}

func zstdWriter(w io.Writer) (io.WriteCloser, error) {
	writer, _ := zstdWriters.Get().(*zstd.Encoder)
	writer.Reset(w)
	return pooled{writer, &zstdWriters}, nil
}
