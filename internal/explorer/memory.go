package explorer

import "crypto/sha256"

// A Memory keeps what came of commands, by all that this depends on. Most commands are come to again, in states that differ in what others
// know or may do.
type Memory[T any] map[[sha256.Size]byte]T

// Of returns what came of a command, and does it if that is not known.
func (m Memory[T]) Of(all []byte, do func() T) T {
	key := sha256.Sum256(all)
	was, known := m[key]
	if !known {
		was = do()
		m[key] = was
	}
	return was
}
