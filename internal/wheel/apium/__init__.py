"""Where the program apium is that came with this package."""
import os

__all__ = ["find_apium_bin"]


def find_apium_bin():
    """The path of the program; FileNotFoundError says where it was looked for."""
    packages = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    places = [
        os.path.join(packages, "..", "..", "..", "bin", "apium"),  # beside PREFIX/lib/python3.x/site-packages
        os.path.join(packages, "bin", "apium"),  # pip install --target
    ]
    for place in map(os.path.normpath, places):
        if os.path.isfile(place):
            return place
    raise FileNotFoundError("the program apium is not where pip puts programs: " + ", ".join(map(os.path.normpath, places)))
