"""An app with libraries that many projects hook into Celery; what they say ends in the journal."""
import structlog
from celery import Task
from celery_once import QueueOnce
from celery_singleton import Singleton
from django.conf import settings
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

from configured import celery_app, journal

settings.configure(INSTALLED_APPS=["django_structlog"], DATABASES={}, DJANGO_STRUCTLOG_CELERY_ENABLED=True, USE_TZ=True)
import django  # noqa: E402

django.setup()


class Journal(SpanExporter):
    def export(self, spans):
        for span in spans:
            parent = "none" if span.parent is None else "remote" if span.parent.is_remote else "local"
            journal("span", dict(span.attributes).get("messaging.message.id") or dict(span.attributes).get("messaging.message_id"),
                    name=span.name, kind=span.kind.name, parent=parent,
                    status=span.status.status_code.name, why=span.status.description, events=[e.name for e in span.events],
                    attributes=sorted(span.attributes))
        return SpanExportResult.SUCCESS


def noted(logger, method, event):
    journal("structlog", event.get("task_id"), level=method, event={k: v for k, v in event.items() if k not in ("duration_ms", "task_id")})
    raise structlog.DropEvent


structlog.configure(processors=[structlog.contextvars.merge_contextvars, noted])
app = celery_app()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Journal()))
CeleryInstrumentor().instrument(tracer_provider=provider)
app.conf.ONCE = {"backend": "celery_once.backends.Redis", "settings": {"url": app.conf.broker_url, "default_timeout": 60}}
import shoptasks  # noqa: E402,F401
from django_structlog.celery.receivers import CeleryReceiver  # noqa: E402

receiver = CeleryReceiver()
receiver.connect_worker_signals()


@app.task(base=QueueOnce, once={"graceful": True})
def once(n):
    return n


@app.task(base=QueueOnce, once={"keys": ["n"], "unlock_before_run": True})
def once_until_it_runs(n):
    return n


@app.task(base=QueueOnce)
def once_fails(n):
    raise ValueError(n)


@app.task(base=Singleton)
def single(n):
    return n


@app.task(base=Singleton)
def single_fails(n):
    raise ValueError(n)


@app.task(bind=True)
def sends_twice(self):
    ids = {single.apply_async((1,), countdown=3).id for _ in range(2)}  # none has run when the second is sent
    return [once.delay(1) is not None, len(ids) == 1]
