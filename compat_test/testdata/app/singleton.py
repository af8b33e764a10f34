"""A task that is locked by celery-singleton. testdata/optional has its Go twin."""
from celery_singleton import Singleton

from tapp import app


@app.task(base=Singleton, name="singleton.price", lock_expiry=3600)
def price(*args, **kwargs):
    return [args, kwargs]


CALLS = [
    (["tea"], {}),
    ([{"b": 1, "a": [1.5, None, True], "é": {"z": 0, "y": "☕"}}], {}),
    ([], {"n": 1e22, "name": 'K\u00e4se "\\ \U0001f9c0', "big": 12345678901234567890123}),
    ([0.1, -0.0, 1e-7], {"x": []}),
]


def send(calls):
    """Sends calls and returns the ids of what is queued."""
    return [price.delay(*args, **kwargs).id for args, kwargs in calls]
