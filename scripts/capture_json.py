"""Writes what Python's json and kombu make of texts and values to
protocol/pyjson/testdata, which the Go tests compare themselves with.

    .venv/bin/python scripts/capture_json.py

loads.jsonl   one case a line: "text" as it goes to kombu's loads, and either
              "dumps", what dumps with sorted keys writes of the result, or
              "error", the refusal
floats.txt    the bits of a float64 in hexadecimal, and its repr
strings.jsonl "text" as an array of code points, and "dumps"
"""
import json
import platform
import random
import struct
import sys
from importlib.metadata import version
from pathlib import Path

from kombu.utils.json import dumps, loads

OUT = Path(__file__).parent.parent / "protocol" / "pyjson" / "testdata"

TEXTS = r"""
null|true|false|nul|nulll|True|None|tru|truefalse
0|-0|1|-1|01|-01|00|+1|1_000|0x10|9223372036854775807|9223372036854775808|-9223372036854775808
-9223372036854775809|18446744073709551616|1180591620717411303424
0.0|-0.0|1.0|2.5|1.|.5|-.5|1e5|1E5|1e+5|1e-7|1e|1e+|1.e5|1.5e16|1e16|123456789012345678.0
1e400|-1e400|1e-400|5e-324|2.2250738585072014e-308|1.7976931348623157e308|0.1|0.30000000000000004
NaN|-NaN|+NaN|nan|Infinity|-Infinity|+Infinity|Inf|- 1|-|--1|1 2|NaN1|Infinity0
""|"a"|'a'|"|"a|a"|"\"|"\\"|"\/"|"\b\f\n\r\t"|"\x41"|"\a"|"\'"|"\u"|"\u00"|"\u00e"|"\u00e9"|"\u00E9"
"\u 0e9"|"\u+0e9"|"\u0x41"|"\ud83d\ude00"|"\ud83d\u00e9x"|"é"|"😀"|"中文"|"\u0000"|"\u007f"|"<&>"|"\u2028"
"\ud83d\u"|"\ud83d\u12"|"\ud83d\n"|"\ud83d\\ude00"
[]|[ ]|[1]|[1,]|[,1]|[,]|[1,2]|[1 2]|[1,,2]|[|]|[[]|[]]|[[]]|[1, [2, [3, []]]]|[}|[1}|(1)
{}|{ }|{"a":1}|{"a":1,}|{,}|{"a"}|{"a":}|{"a" 1}|{a:1}|{'a':1}|{1:2}|{"a":1 "b":2}|{"a":1,"b":[{}]}
{|}|{"a":1|{"a":1]|{"a":1,"a":2}|{"a":{"x":1},"a":{"y":2}}|{"":0}|{"b":1,"a":2}|{"\u0061":1}|{"é":"é"}
//x|/* */1|1//x|[1]x|x[1]|{"a":1}}|#|undefined
{"__type__":"datetime","__value__":"2030-01-02T03:04:05"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05.678901"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05.6"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05.1234567"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05+00:00"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05Z"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05+02:00"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05-09:30"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05+01:02:03"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05+24:00"}
{"__type__":"time","__value__":"03:04:05-01:02:03.000004"}
{"__type__":"datetime","__value__":"2030-01-02 03:04"}
{"__type__":"datetime","__value__":"2030-01-02T03"}
{"__type__":"datetime","__value__":"20300102T030405"}
{"__type__":"datetime","__value__":"2030-01-02"}
{"__type__":"datetime","__value__":"2030-02-29"}
{"__type__":"datetime","__value__":"2028-02-29T23:59:59.999999"}
{"__type__":"datetime","__value__":"0001-01-01T00:00:00"}
{"__type__":"datetime","__value__":"0000-01-01T00:00:00"}
{"__type__":"datetime","__value__":"9999-12-31T23:59:59.999999+00:00"}
{"__type__":"datetime","__value__":"2030-13-02T03:04:05"}
{"__type__":"datetime","__value__":"2030-01-02T24:00:01"}
{"__type__":"datetime","__value__":"2030-01-02T03:60:05"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:60"}
{"__type__":"datetime","__value__":"2030-01-02T03:04:05."}
{"__type__":"datetime","__value__":"2030-01-02T"}
{"__type__":"datetime","__value__":"now"}
{"__type__":"datetime","__value__":""}
{"__type__":"datetime","__value__":5}
{"__type__":"datetime","__value__":null}
{"__type__":"date","__value__":"2030-01-02"}
{"__type__":"date","__value__":"2030-01-02T03:04:05"}
{"__type__":"date","__value__":"2030-1-2"}
{"__type__":"time","__value__":"03:04:05.678901"}
{"__type__":"time","__value__":"03:04:05"}
{"__type__":"time","__value__":"03:04"}
{"__type__":"time","__value__":"T03:04:05+02:00"}
{"__type__":"time","__value__":"03:04:05Z"}
{"__type__":"time","__value__":"25:00:00"}
{"__type__":"time","__value__":"2030-01-02"}
{"__type__":"decimal","__value__":"1.10"}
{"__type__":"decimal","__value__":"-1E+5"}
{"__type__":"decimal","__value__":"NaN"}
{"__type__":"decimal","__value__":"-Infinity"}
{"__type__":"decimal","__value__":"sNaN"}
{"__type__":"decimal","__value__":"1.2.3"}
{"__type__":"decimal","__value__":"1e"}
{"__type__":"decimal","__value__":"."}
{"__type__":"decimal","__value__":"+-1"}
{"__type__":"decimal","__value__":""}
{"__type__":"decimal","__value__":null}
{"__type__":"decimal","__value__":5}
{"__type__":"decimal","__value__":-18446744073709551616}
{"__type__":"decimal","__value__":0.5}
{"__type__":"decimal","__value__":0.1}
{"__type__":"decimal","__value__":-2.0}
{"__type__":"decimal","__value__":1e22}
{"__type__":"decimal","__value__":NaN}
{"__type__":"decimal","__value__":-Infinity}
{"__type__":"decimal","__value__":{}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005"}}
{"__type__":"uuid","__value__":{"hex":"{12345678-1234-5678-1234-567812345678}"}}
{"__type__":"uuid","__value__":{"hex":"urn:uuid:12345678123456781234567812345678"}}
{"__type__":"uuid","__value__":{"hex":"1234"}}
{"__type__":"uuid","__value__":{"hex":"zz000000000000000000000000000005"}}
{"__type__":"uuid","__value__":{}}
{"__type__":"uuid","__value__":{"hex":"12345678123456781234567812345678","version":4}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005","version":null}}
{"__type__":"uuid","__value__":{"hex":"ffffffffffffffffffffffffffffffff","version":1,"is_safe":null}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005","version":0}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005","version":"4"}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005","size":4}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005","size":null}}
{"__type__":"uuid","__value__":{"hex":"00000000000000000000000000000005","int":5}}
{"__type__":"uuid","__value__":{"hex":null,"int":5}}
{"__type__":"uuid","__value__":{"hex":5}}
{"__type__":"uuid","__value__":{"int":5}}
{"__type__":"uuid","__value__":{"int":340282366920938463463374607431768211455,"version":5}}
{"__type__":"uuid","__value__":{"int":340282366920938463463374607431768211456}}
{"__type__":"uuid","__value__":{"int":-1}}
{"__type__":"uuid","__value__":{"int":"5"}}
{"__type__":"uuid","__value__":{"fields":[305419896,4660,22136,18,52,95075992133240]}}
{"__type__":"uuid","__value__":{"fields":[305419896,4660,22136,18,256,95075992133240]}}
{"__type__":"uuid","__value__":{"fields":[305419896,4660,22136,18,-1,95075992133240]}}
{"__type__":"uuid","__value__":{"fields":[305419896,4660,22136,18,52]}}
{"__type__":"uuid","__value__":{"fields":5}}
{"__type__":"uuid","__value__":{"bytes":{"__type__":"bytes","__value__":"0123456789abcdef"}}}
{"__type__":"uuid","__value__":{"bytes":{"__type__":"base64","__value__":"EjRWeBI0VngSNFZ4EjRWeA=="},"version":3}}
{"__type__":"uuid","__value__":{"bytes_le":{"__type__":"base64","__value__":"eFY0EjQSeFYSNFZ4EjRWeA=="}}}
{"__type__":"uuid","__value__":{"bytes":{"__type__":"bytes","__value__":"short"}}}
{"__type__":"uuid","__value__":{"bytes":"0123456789abcdef"}}
{"__type__":"uuid","__value__":[]}
{"__type__":"uuid","__value__":null}
{"__type__":"uuid","__value__":"00000000000000000000000000000005"}
{"__type__":"bytes","__value__":"hello"}
{"__type__":"bytes","__value__":"h\u00e9\u0000"}
{"__type__":"bytes","__value__":""}
{"__type__":"bytes","__value__":1}
{"__type__":"base64","__value__":"/wA="}
{"__type__":"base64","__value__":"/w"}
{"__type__":"base64","__value__":"aGVsbG8="}
{"__type__":"base64","__value__":""}
{"__type__":"money","__value__":"1"}
{"__type__":"","__value__":"1"}
{"__type__":null,"__value__":"1"}
{"__type__":5,"__value__":"1"}
{"__type__":[],"__value__":"1"}
{"__type__":{},"__value__":"1"}
{"__type__":"datetime"}
{"__value__":1}
{"__type__":"money","__value__":1,"x":2}
{"x":2,"__type__":"money","__value__":1}
{"__value__":"1.10","__type__":"decimal"}
{"__value__":1,"__value__":"1.10","__type__":"x","__type__":"decimal"}
{"\u005f_type__":"decimal","__v\u0061lue__":"1.10"}
{"\u005f_type__":"money","__v\u0061lue__":"1.10"}
{"__type__":{"__type__":"bytes","__value__":"decimal"},"__value__":"1"}
{"__type__":"bytes","__value__":{"__type__":"decimal","__value__":"1"}}
{"__type__":"decimal","__value__":{"__type__":"money","__value__":"1"}}
[{"a":{"__type__":"decimal","__value__":"1.10"}},{"__type__":"date","__value__":"2030-01-02"}]
[{"a":{"__type__":"money","__value__":"1.10"}}]
"""

EXTRA = [
    "", " ", "\n", " 1 ", "\t[\r\n1 ,\t2 ]\n", '\t{\r\n"a"\n:\t1 , "b" : 2 }\n', "\ufeff1", "\x001", "1\x00",
    "\x0b1", "\xa01", "1\f", "\u20281", '"a\nb"', '"a\tb"', '"a\x00b"', '"a\x1fb"', '"a\x7fb"', '"12345678\x01"',
    '"1234567\\', '"12345678\\"', '"' + "x" * 40 + "é" + "y" * 9 + '"', "|", '"a|b"', "٣", "1٣",
    "1" * 4300, "1" * 4301, "-" + "1" * 4300, "-" + "1" * 4301, "[1, %s, 2]" % ("9" * 5000), "1" * 5000 + ".5", "0.%s" % ("1" * 5000),
    "1" * 5000 + "e1", '{"%s": 1}' % ("1" * 5000), '"caf\\udce9.txt"', '"\\udc80\\udcff"', '"\\udc7f"', '"\\udd00"', '"\\ud800\\udce9"',
    '{"k\\udce9": ["\\udce9\\u00e9"]}', '"\\udcc3\\udca9"', '{"__type__":"bytes","__value__":"\\udce9"}',
    "[" * 100 + "]" * 100, '{"a":' * 100 + "1" + "}" * 100, "[" * 2000, '{"a":' * 2000, "[" * 2000 + "]" * 2000,
]


def refusal(err):
    return f"{type(err).__name__}: {err}"[:200]


def load(text):
    try:
        return {"text": text, "dumps": dumps(loads(text.encode()), sort_keys=True)}
    except (ValueError, TypeError, AttributeError, RecursionError, ArithmeticError, AssertionError) as err:
        return {"text": text, "error": refusal(err)}


def write(name, lines):
    path = OUT / name
    path.write_text("".join(line + "\n" for line in lines))
    print(path)


def floats(rnd):
    values = [0.0, -0.0, 1.0, 2.0, -2.5, 0.1, 0.2, 0.3, 1 / 3, 2 / 3, 1e15, 1e16, 1e17, 1e22, 1e23, 123456.789,
              9999999999999998.0, 9007199254740993.0, 0.0001, 0.00001, 0.00012345, 0.000099999, 1e-7, 5e-324,
              2.2250738585072014e-308, 1.7976931348623157e308, float("inf"), float("-inf")]
    values += [rnd.choice((-1, 1)) * 10.0 ** e for e in range(-30, 30)]
    values += [rnd.randrange(-10**6, 10**6) / 1000 for _ in range(60)]
    values += [float(rnd.randrange(-2**60, 2**60)) for _ in range(60)]
    values += [struct.unpack(">d", rnd.randbytes(8))[0] for _ in range(150)]
    return [v for v in values if v == v]


def strings(rnd):
    texts = [chr(c) for c in range(0x100)] + ["", "\u2028\u2029", "😀", "中文 é", "\ufffd\uffff", "</script>&"]
    alphabet = 'ab "\\/\n\x00\x7fé中😀\U0010ffff\ue000'
    return texts + ["".join(rnd.choices(alphabet, k=rnd.randrange(1, 20))) for _ in range(60)]


def main():
    rnd = random.Random(5)
    texts = [t for line in TEXTS.strip().split("\n") for t in line.split("|")] + EXTRA
    OUT.mkdir(exist_ok=True)
    write("loads.jsonl", (json.dumps(load(t)) for t in texts))
    write("floats.txt", (f"{struct.pack('>d', v).hex()} {json.dumps(v)}" for v in floats(rnd)))
    write("strings.jsonl", (json.dumps({"text": [ord(c) for c in s], "dumps": dumps(s)}) for s in strings(rnd)))
    write("VERSIONS", [f"Python {platform.python_version()}", f"kombu {version('kombu')}"])


sys.exit(main())
