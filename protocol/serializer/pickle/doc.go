// Package pickle reads and writes Python's pickles as far as they hold plain data.
//
// A pickle is a program that may call anything a Python process can import. This
// reader calls nothing and imports nothing: the names of a fixed list stand for
// plain values (datetime, Decimal, UUID, set, …), and any other name ends it with an
// *Error: "pickle: os.system is not plain data". It reads protocols 0 to 5, of
// Python 2 too.
//
// How Python's values appear:
//
//	tuple, set, frozenset, deque   arrays
//	OrderedDict, Counter, …        objects, as is a signature of celery.canvas
//	timedelta                      a float of seconds, which a time.Duration reads
//	str of Python 2                text if it is UTF-8, else bytes
//	bytearray                      bytes
//	aware datetime                 with the UTC offset its zone had then
package pickle
