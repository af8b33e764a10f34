"""Says what those have to know of the app who only talk to its workers: its settings."""
import json
import os
import sys

from apium_driver import hooks, load, manifest, signing
from apium_driver.wire import CONTROL_FD


def main(options):
    answer(options, of)


def answer(options, of):
    """Loads the app, writes what a function says of it, and ends this process."""
    os.set_inheritable(CONTROL_FD, False)
    sys.argv[:] = options["argv"]
    try:
        said = of(load.find(options), options)
    except BaseException as exc:
        said = load.complaint(options, exc)
    with os.fdopen(CONTROL_FD, "wb") as out:
        out.write(json.dumps(said).encode() + b"\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # whatever threads the app has started


def of(app, options):
    settings, lost = manifest.exported(app, options)
    return {
        "settings": settings, "lost": lost, "software": manifest.software(app), "loader": manifest.loader(app),
        "commands": commands(), "signing": signing.of(app),
    }


def commands():
    """How to call the app's own commands of remote control."""
    from celery.utils.serialization import strtobool
    from celery.worker.control import Panel
    kinds = {int: "int", float: "float", bool: "bool", strtobool: "bool"}
    return [{
        "name": name, "type": meta.type, "signature": meta.signature or "", "help": meta.help or "", "variadic": meta.variadic or "",
        "args": [[arg, kinds.get(kind, "str")] for arg, kind in meta.args or ()],
    } for name, meta in sorted(Panel.meta.items()) if meta.visible and hooks.is_apps(Panel.data[name])]
