"""python -m apium runs the program apium, for the project of this very interpreter."""
import os
import sys

from apium import find_apium_bin

if __name__ == "__main__":
    program = find_apium_bin()
    os.environ.setdefault("APIUM_PYTHON", sys.executable)  # as if named with --python
    os.execv(program, [program, *sys.argv[1:]])
