"""Tasks whose spans end in the journal, by OpenTelemetry's instrumentation of Celery. testdata/traced has their Go
twins."""
import json
import os

from celery import chain, chord, group
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

import shoperrors
from tapp import _journal, app


class Journal(SpanExporter):
    def export(self, spans):
        for span in spans:
            _journal().rpush("spans", json.dumps({
                "name": span.name, "kind": span.kind.name, "trace": "%032x" % span.context.trace_id, "id": "%016x" % span.context.span_id,
                "parent": span.parent and "%016x" % span.parent.span_id, "status": span.status.status_code.name,
                "why": span.status.description, "attributes": dict(span.attributes),
                "events": [[e.name, dict(e.attributes)] for e in span.events], "scope": span.instrumentation_scope.name,
            }))
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Journal()))
trace.set_tracer_provider(provider)


class Runtimes(MetricExporter):
    """Keeps how often each series of histograms was recorded, by process."""

    def export(self, metrics_data, **kwargs):
        for resource in metrics_data.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    for point in metric.data.data_points:
                        series = [metric.name, metric.unit, metric.description, sorted(dict(point.attributes).items())]
                        _journal().hset("runtimes", "%d %s" % (os.getpid(), json.dumps(series)), point.count)
        return MetricExportResult.SUCCESS

    def force_flush(self, timeout_millis=0):
        return True

    def shutdown(self, timeout_millis=0, **kwargs):
        pass


CeleryInstrumentor().instrument(meter_provider=MeterProvider([PeriodicExportingMetricReader(Runtimes(), export_interval_millis=200)]))


@app.task
def add(x, y):
    with trace.get_tracer("shop").start_as_current_span("inner"):
        return x + y


@app.task
def fails(*args):
    raise ValueError("bad", 1)


@app.task(throws=(KeyError,))
def throws():
    raise KeyError("k")


@app.task(bind=True)
def again(self):
    if not self.request.retries:
        raise self.retry(exc=shoperrors.OutOfStock("pen", 3), countdown=0.5)
    return self.request.retries


@app.task(bind=True)
def sends(self):
    with trace.get_tracer("shop").start_as_current_span("inner"):
        add.delay(1, 2)


@app.task(bind=True, ignore_result=True)
def ignores(self):
    from celery.exceptions import Ignore
    raise Ignore


@app.task(bind=True)
def rejects(self):
    from celery.exceptions import Reject
    raise Reject("why", requeue=False)


@app.task(bind=True)
def replaced(self):
    raise self.replace(add.s(3, 4))


@app.task
def total(numbers):
    return sum(numbers)


CASES = {
    "add": add.s(1, 2),
    "fails": fails.s(),
    "throws": throws.s(),
    "again": again.s(),
    "sends": sends.s(),
    "ignores": ignores.s(),
    "rejects": rejects.s(),
    "replaced": replaced.s(),
    "later": add.s(1, 2).set(countdown=0.5, expires=600, time_limit=30, soft_time_limit=20, priority=3, reply_to="inbox"),
    "linked": add.s(1, 2).set(link=add.s(10), link_error=total.si([])),
    "failed link": fails.s().set(link_error=total.si([1])),
    "chain": chain(add.s(1, 2), add.s(3), add.s(4)),
    "chord": chord([add.s(1, 2), add.s(3, 4)], total.s()),
    "group": group([add.s(1, 2), add.s(3, 4)]),
}


def publish():
    for name, sig in CASES.items():
        with trace.get_tracer("shop").start_as_current_span(name):
            sig.apply_async()
