"""An app with commands of its own for remote control; one takes the place of Celery's."""
from celery.utils.serialization import strtobool
from celery.worker.control import control_command, inspect_command

from tapp import app  # noqa: F401  the app that is named


@inspect_command(args=[("word", str), ("times", int), ("loud", strtobool)], signature="<word> [times [loud]]")
def repeated(state, word, times=1, loud=False):
    """Says a word."""
    text = word * times
    return {"ok": text.upper() if loud else text}


@control_command(args=[("factor", float)], variadic="numbers", signature="<factor> [number ...]")
def scaled(state, factor, numbers=()):
    """Multiplies."""
    return {"ok": [factor * int(number) for number in numbers]}


@inspect_command(visible=False)
def secret(state):
    return {"ok": "secret"}


@inspect_command()
def clock(state):
    """Tells another time."""
    return {"ok": "late"}
