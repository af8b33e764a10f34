// Package compression packs and unpacks message bodies and result records with the
// methods kombu has, under kombu's names.
package compression

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

// A method is one of kombu's compression methods.
type method struct {
	contentType string   // what headers.compression says
	aliases     []string // what settings, and some headers, say
	reader      func(io.Reader) (io.Reader, error)
	writer      func(io.Writer) (io.WriteCloser, error)
}

// methods are in kombu's order (kombu/compression.py). What kombu calls gzip is a
// zlib stream.
var methods = []method{
	{"application/x-gzip", []string{"gzip", "zlib"}, zlibReader, zlibWriter},
	{"application/x-bz2", []string{"bzip2", "bzip"}, bzip2Reader, bzip2Writer},
	{"application/x-brotli", []string{"brotli"}, brotliReader, brotliWriter},
	{"application/x-lzma", []string{"lzma", "xz"}, xzReader, xzWriter},
	{"application/zstd", []string{"zstd", "zstandard"}, zstdReader, zstdWriter},
}

func find(name string) (*method, error) {
	for i := range methods {
		if m := &methods[i]; m.contentType == name || slices.Contains(m.aliases, name) {
			return m, nil
		}
	}
	return nil, fmt.Errorf("compression %q is not supported", name)
}

// ContentType returns what a message's compression header says for a method, which
// may be given by any of kombu's names ("zlib", "gzip", "bzip2", "brotli", "lzma",
// "xz", "zstd" …) or by the content type itself.
func ContentType(name string) (string, error) {
	m, err := find(name)
	if err != nil {
		return "", err
	}
	return m.contentType, nil
}

// Compress packs data with kombu's default level for the method.
func Compress(name string, data []byte) ([]byte, error) {
	m, err := find(name)
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	w, err := m.writer(&packed)
	if err == nil {
		_, err = w.Write(data)
		err = errors.Join(err, w.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("compressing with %s: %w", name, err)
	}
	return packed.Bytes(), nil
}

// Decompress unpacks data, which may become limit bytes long and no longer.
func Decompress(name string, data []byte, limit int) ([]byte, error) {
	m, err := find(name)
	if err != nil {
		return nil, err
	}
	r, err := m.reader(bytes.NewReader(data))
	if len(data) == 0 {
		err = io.ErrUnexpectedEOF // to some libraries it is a stream without any data
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing %s: %w", name, err)
	}
	if c, ok := r.(io.Closer); ok {
		defer c.Close()
	}
	plain, err := readAll(io.LimitReader(r, int64(limit)+1), 4*len(data))
	if err == nil && len(plain) > limit {
		err = fmt.Errorf("more than %d bytes", limit)
	}
	if err != nil {
		return nil, fmt.Errorf("decompressing %s: %w", name, err)
	}
	return plain, nil
}

// readAll is io.ReadAll for what may be long: it does not copy all that was read whenever
// there is more. size is about how much there may be.
func readAll(r io.Reader, size int) ([]byte, error) {
	const least, most = 512, 4 << 20
	var pieces [][]byte
	for size = max(size, least); ; size *= 2 {
		size = min(size, most)
		piece, err := make([]byte, 0, size), error(nil)
		for err == nil && len(piece) < size {
			var n int
			n, err = r.Read(piece[len(piece):size])
			piece = piece[:len(piece)+n]
		}
		pieces = append(pieces, piece)
		switch {
		case errors.Is(err, io.EOF) && len(pieces) == 1:
			return piece, nil
		case errors.Is(err, io.EOF):
			return slices.Concat(pieces...), nil
		case err != nil:
			return nil, err
		}
	}
}
