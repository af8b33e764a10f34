"""Writes what each kombu since 5.3.0 makes of values of the types it knows to
protocol/pyjson/testdata/kombu.jsonl.

    .venv/bin/python scripts/capture_kombu.py

Every version is installed, alone, into a folder that is removed afterwards. One line
for each different text: "value", the Python expression; "versions", who writes it so;
"dumps", the text; "now", what the newest of them writes for the same value; "reads",
whether the newest, under the Python of this environment, reads it.
"""
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = ["5.3.0", "5.3.1", "5.3.2", "5.3.3", "5.3.4", "5.3.5", "5.3.6", "5.3.7", "5.4.0", "5.4.1", "5.4.2",
            "5.5.0", "5.5.4", "5.6.0", "5.6.1", "5.6.2", "5.7.0"]
OUT = Path(__file__).parent.parent / "protocol" / "pyjson" / "testdata" / "kombu.jsonl"

VALUES = """
datetime(2030, 1, 2, 3, 4, 5)
datetime(2030, 1, 2, 3, 4, 5, 678901)
datetime(1, 1, 1)
datetime(9999, 12, 31, 23, 59, 59, 999999)
datetime(2030, 1, 2, 3, 4, 5, fold=1)
datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
datetime(2030, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(-timedelta(hours=9, minutes=30)))
datetime(1880, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(minutes=53, seconds=28)))
datetime(2030, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(seconds=1, microseconds=1)))
datetime(2030, 7, 2, 3, 4, 5, tzinfo=ZoneInfo("Europe/Berlin"))
type("Sub", (datetime,), {})(2030, 1, 2, 3, 4)
date(2030, 1, 2)
date(1, 1, 1)
time(3, 4, 5)
time(0)
time(3, 4, 5, 678901)
time(3, 4, tzinfo=timezone.utc)
time(3, 4, tzinfo=timezone(-timedelta(hours=2)))
Decimal("1.10")
Decimal("-0")
Decimal("1E+5")
Decimal("1E-7")
Decimal("NaN")
Decimal("sNaN")
Decimal("-Infinity")
Decimal(0.1)
Decimal("9" * 40)
uuid.UUID("12345678-1234-4234-8234-567812345678")
uuid.uuid3(uuid.NAMESPACE_DNS, "a")
uuid.uuid5(uuid.NAMESPACE_DNS, "a")
uuid.UUID("c232ab00-9414-11ec-b3c8-9f6bdeced846")
uuid.UUID("1ec9414c-232a-6b00-b3c8-9f6bdeced846")
uuid.UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
uuid.UUID("2489e9ad-2ee2-8e00-8ec9-32d5f69181c0")
uuid.UUID(int=0)
uuid.UUID(int=5)
uuid.UUID(int=2**128 - 1)
uuid.UUID("12345678-1234-1234-c234-567812345678")
b"text"
b""
b"caf\\xc3\\xa9"
b"caf\\xe9"
bytes(range(256))
[date(2030, 1, 2), {"a": Decimal("1")}, (uuid.UUID(int=5), b"x")]
{1: date(2030, 1, 2), 2.5: 3}
type("Reduced", (), {"__json__": lambda self: {"reduced": [1, date(2030, 1, 2)]}})()
os.fsdecode(b"caf\\xe9.txt")
"""

PROGRAM = """
import json, os, sys, uuid
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo
from kombu.utils.json import dumps, loads
def read(text):
    try:
        loads(text)
    except Exception:
        return False
    return True
job = json.load(sys.stdin)
print(json.dumps([dumps(eval(v)) for v in job["values"]] if "values" in job else [read(t) for t in job["texts"]]))
"""


def run(folder, job):
    env = dict(os.environ, PYTHONPATH=folder)
    done = subprocess.run([sys.executable, "-c", PROGRAM], input=json.dumps(job), stdout=subprocess.PIPE, check=True,
                          text=True, env=env)
    return json.loads(done.stdout)


def main():
    values = VALUES.strip().split("\n")
    found = {}
    with tempfile.TemporaryDirectory() as root:
        for version in VERSIONS:
            folder = os.path.join(root, version)
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
                            "--target", folder, f"kombu=={version}"], check=True)
            now = run(folder, {"values": values})
            for value, text in zip(values, now):
                found.setdefault((value, text), []).append(version)
        cases = sorted(found, key=lambda case: values.index(case[0]))
        reads = run(folder, {"texts": [text for _, text in cases]})
    with open(OUT, "w") as out:
        for case, ok in zip(cases, reads):
            value, text = case
            print(json.dumps({"value": value, "versions": found[case], "dumps": text, "now": now[values.index(value)],
                              "reads": ok}), file=out)
    print(OUT)


sys.exit(main())
