"""An app with everything that is not plain data."""
import re

from celery import Celery
from kombu import Exchange, Queue
from kombu.common import Broadcast

app = Celery("routed", broker="redis://localhost:6379/1")


def by_function(name, args, kwargs, options, task=None, **kw):
    """Sends one package elsewhere."""
    if name.startswith("shop."):
        return {"queue": "shop", "priority": 4}


class OldRouter:
    """A router as before Celery 4."""

    def route_for_task(self, task, args=None, kwargs=None):
        return "legacy" if task.endswith(".legacy") else None


class Annotate:
    """Annotations that are computed."""

    def annotate(self, task):
        if task.name.startswith("shop."):
            return {"rate_limit": "5/s", "max_retries": None}


def on_failure(self, exc, task_id, args, kwargs, einfo):
    """A method that an annotation sets."""


feeds = Exchange("feeds", type="topic", delivery_mode=1)

app.conf.update(
    task_routes=(
        by_function,
        {"feed.*": "feeds", "feed.add": {"queue": "feeds", "routing_key": "feed.add"}},
        [(re.compile(r"(VIDEO|image)\..*", re.IGNORECASE), {"queue": "media"}), ("web.*", {"queue": Queue("web")})],
        "routed.OldRouter",
    ),
    task_queues=(
        Queue("celery"),
        Queue("feeds", feeds, routing_key="feed.#", durable=False, max_length=7, expires=2.5, consumer_arguments={"x-priority": 3}),
        Queue("mine", Exchange("mine", durable=False, auto_delete=True, arguments={"alternate-exchange": "lost"}),
              routing_key="mine", exclusive=True, binding_arguments={"k": "v"}),
        Queue("media", Exchange("media"), routing_key="media", alias="m", queue_arguments={"x-max-priority": 10}),
        Broadcast("everyone"),
    ),
    task_annotations=[{"feed.add": {"time_limit": 3, "on_failure": on_failure}}, Annotate(), {"*": {"acks_late": True}}],
)

for name in ("shop.buy", "feed.add", "feed.other", "x.legacy", "web.get", "video.cut", "plain"):
    @app.task(name=name)
    def nothing():
        """Does nothing."""
