import sys

sys.exit("there is no secret")
