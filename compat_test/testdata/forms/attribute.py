import os

os.nosuch
