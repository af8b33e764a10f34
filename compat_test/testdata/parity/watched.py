"""An app with Sentry's integration, whose reports end in the journal."""
import sentry_sdk
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport

from configured import celery_app, journal


class Journal(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            event = item.payload.json if item.payload else None
            if not isinstance(event, dict):
                continue
            trace = (event.get("contexts") or {}).get("trace") or {}
            job = (event.get("extra") or {}).get("celery-job") or {}
            raised = [v["type"] for v in (event.get("exception") or {}).get("values") or ()]
            task_id = (event.get("tags") or {}).get("celery_task_id")
            if item.type == "event":
                frames = [f["function"] for v in event["exception"]["values"] for f in v["stacktrace"]["frames"]] if raised else []
                journal("sentry event", task_id, raised=raised, task=job.get("task_name"), transaction=event.get("transaction"),
                        frames=[f for f in frames if f not in ("marked", "store_result")])
            elif item.type == "transaction":
                journal("sentry transaction", transaction=event.get("transaction"), op=trace.get("op"), status=trace.get("status"),
                        spans=sorted(s["op"] for s in event.get("spans") or ()))


sentry_sdk.init(dsn="http://public@localhost/1", transport=Journal, integrations=[CeleryIntegration(monitor_beat_tasks=True)],
                traces_sample_rate=1.0, default_integrations=True, auto_enabling_integrations=False, send_default_pii=True)
app = celery_app()
import shoptasks  # noqa: E402,F401
