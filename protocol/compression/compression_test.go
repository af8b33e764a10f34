package compression_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/apium/apium/protocol/compression"
)

var names = []string{"zlib", "bzip2", "brotli", "lzma", "zstd"}

func TestCompress(t *testing.T) {
	t.Parallel()
	for _, name := range names {
		contentType, err := compression.ContentType(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, plain := range []string{"", "a", strings.Repeat("all work and no play ", 10000)} {
			packed, err := compression.Compress(name, []byte(plain))
			if err != nil {
				t.Fatal(err)
			}
			got, err := compression.Decompress(contentType, packed, len(plain))
			if err != nil || string(got) != plain {
				t.Errorf("%s: %d bytes became %d, %v", name, len(plain), len(got), err)
			}
		}
	}
}

func TestDecompressRefuses(t *testing.T) {
	t.Parallel()
	plain := []byte(strings.Repeat("x", 100000))
	for _, name := range names {
		packed, err := compression.Compress(name, plain)
		if err != nil {
			t.Fatal(err)
		}
		for what, data := range map[string][]byte{
			"nothing": nil, "garbage": []byte("garbage"), "the first half": packed[:len(packed)/2], "the first byte": packed[:1],
		} {
			if _, err := compression.Decompress(name, data, 1<<20); err == nil || !strings.Contains(err.Error(), "decompressing "+name) {
				t.Errorf("%s of %s: %v", name, what, err)
			}
		}
		if _, err := compression.Decompress(name, packed, 99999); err == nil || !strings.Contains(err.Error(), "more than 99999 bytes") {
			t.Errorf("%s with too small a limit: %v", name, err)
		}
	}
	if _, err := compression.Decompress("rar", nil, 1); err == nil {
		t.Error("rar is unpacked")
	}
	if _, err := compression.Compress("rar", nil); err == nil {
		t.Error("rar is packed")
	}
}

// A header may ask for a dictionary of any size, whatever the data has.
func TestLargeDictionary(t *testing.T) {
	t.Parallel()
	packed, err := compression.Compress("xz", []byte("data"))
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.IndexByte(packed[12:], 0x21) + 12 // the filter's id, its size, its dictionary
	packed[at+2] = 40
	if _, err := compression.Decompress("xz", packed, 100); err == nil || !strings.Contains(err.Error(), "its dictionary has") {
		t.Errorf("error %v", err)
	}
}

func FuzzDecompress(f *testing.F) {
	for i, name := range names {
		packed, err := compression.Compress(name, []byte("some text, some text"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), packed)
	}
	f.Fuzz(func(t *testing.T, method uint8, data []byte) {
		name := names[int(method)%len(names)]
		plain, err := compression.Decompress(name, data, 1<<20)
		if err != nil {
			return
		}
		if len(plain) > 1<<20 {
			t.Fatalf("%d bytes", len(plain))
		}
		packed, err := compression.Compress(name, plain)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := compression.Decompress(name, packed, 1<<20); err != nil || !bytes.Equal(again, plain) {
			t.Fatalf("%q became %q, %v", plain, again, err)
		}
	})
}
