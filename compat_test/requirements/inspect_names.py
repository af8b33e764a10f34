"""Gives Celery 4.4 two names of the inspect module that Python 3.11 removed.

scripts/venv puts this file into the 4.4 environment and loads it with a .pth file.
"""
import inspect

if not hasattr(inspect, "getargspec"):
    inspect.getargspec = inspect.getfullargspec

if not hasattr(inspect, "formatargspec"):
    def formatargspec(*args, **kwargs):
        raise NotImplementedError("inspect.formatargspec")

    inspect.formatargspec = formatargspec
