"""Makes the other files of the driver importable as apium_driver.*: they are nowhere on disk."""
import importlib.abc
import importlib.util
import linecache
import sys

PACKAGE = "apium_driver"


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, sources):
        self.sources = sources

    def find_spec(self, fullname, path=None, target=None):
        if fullname == PACKAGE:
            return importlib.util.spec_from_loader(fullname, self, is_package=True)
        if fullname.startswith(PACKAGE + ".") and fullname[len(PACKAGE) + 1:] in self.sources:
            return importlib.util.spec_from_loader(fullname, self)
        return None

    def exec_module(self, module):
        if module.__name__ == PACKAGE:
            return
        name = module.__name__[len(PACKAGE) + 1:]
        source, filename = self.sources[name], "<apium %s.py>" % name
        linecache.cache[filename] = (len(source), None, source.splitlines(True), filename)  # for tracebacks
        exec(compile(source, filename, "exec"), module.__dict__)


sys.meta_path.insert(0, Finder(given["modules"]))  # noqa: F821
importlib.import_module(PACKAGE + ".unpatched").patch(given["options"].get("pool"))  # noqa: F821
importlib.import_module(PACKAGE + "." + given["run"]).main(given["options"])  # noqa: F821
