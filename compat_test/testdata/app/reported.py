"""Tasks that Sentry's SDK reports to SENTRY_DSN. testdata/reported has their Go twins. Each sends to the queue that it came
from."""
import sentry_sdk
from celery import chain, chord, group
from celery.exceptions import Ignore, Reject
from sentry_sdk.integrations.celery import CeleryIntegration

import shoperrors
from tapp import app

sentry_sdk.init(traces_sample_rate=1.0, default_integrations=False, integrations=[CeleryIntegration()], send_default_pii=True)


def here(sig):
    return sig.set(queue=app.current_task.request.delivery_info["routing_key"])


@app.task(typing=False)  # so that it may be called wrong
def add(x, y):
    sentry_sdk.set_tag("shop", "first")
    with sentry_sdk.start_span(op="shop.inner", name="inner"):
        return x + y


@app.task
def fails(*args, **kwargs):
    sentry_sdk.set_tag("shop", "second")
    sentry_sdk.add_breadcrumb(message="before", category="shop")
    raise ValueError("bad", 1)


@app.task
def own():
    raise shoperrors.OutOfStock("pen", 3)


@app.task(throws=(KeyError,))
def throws():
    raise KeyError("k")


@app.task(bind=True)
def again(self):
    if not self.request.retries:
        raise self.retry(exc=ValueError("busy"), countdown=0.5)
    return self.request.retries


@app.task(bind=True, max_retries=1)
def vain(self):
    raise self.retry(exc=ValueError("busy"), countdown=0.1)


@app.task
def sends():
    with sentry_sdk.start_span(op="shop.inner", name="inner"):
        here(add.s(1, 2)).apply_async()


@app.task(ignore_result=True)
def ignores():
    raise Ignore


@app.task
def rejects():
    raise Reject("why", requeue=False)


@app.task(bind=True)
def replaced(self):
    raise self.replace(here(add.s(3, 4)))


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def relay():
    add.s(5, 6).set(queue="theirs").apply_async()


CASES = {
    "add": lambda q: q(add.s(1, 2)),
    "called wrong": lambda q: q(add.s(1)),
    "fails": lambda q: q(fails.s(1, "a", [2.5], b=None)),
    "own": lambda q: q(own.s()),
    "throws": lambda q: q(throws.s()),
    "again": lambda q: q(again.s()),
    "vain": lambda q: q(vain.s()),
    "sends": lambda q: q(sends.s()),
    "ignores": lambda q: q(ignores.s()),
    "rejects": lambda q: q(rejects.s()),
    "replaced": lambda q: q(replaced.s()),
    "linked": lambda q: q(add.s(1, 2)).set(link=q(add.s(10)), link_error=q(total.si([]))),
    "failed link": lambda q: q(fails.s()).set(link_error=q(total.si([1]))),
    "chain": lambda q: chain(q(add.s(1, 2)), q(add.s(3)), q(add.s(4))),
    "group": lambda q: group([q(add.s(1, 2)), q(add.s(3, 4))]),
    "chord": lambda q: chord([q(add.s(1, 2)), q(add.s(1, 2))], q(total.s())),
    "relay": lambda q: q(relay.s()),
}


def publish():
    for queue in ("theirs", "ours"):
        for name, case in CASES.items():
            with sentry_sdk.start_transaction(op="case", name=queue + " " + name):
                case(lambda sig: sig.set(queue=queue)).apply_async()
    sentry_sdk.flush()
