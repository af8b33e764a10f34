"""An app whose tasks come from everywhere: settings, the command line, discovery."""
from celery import shared_task

from configured import celery_app


@shared_task(name="lazy.before")
def before(x):
    """Is there before there is an app."""
    return x


app = celery_app(include=["lateshop.included"])
app.conf.imports = ["lateshop.imported"]
app.autodiscover_tasks(["lateshop"], related_name="discovered")


@app.task(lazy=True)
def lazily(x):
    return [x, lazily.name]


class Counter(app.Task):
    name = "lazy.counter"
    count = 0

    def run(self, by=1):
        self.count += by
        return self.count > 0


app.register_task(Counter()) if hasattr(app, "register_task") else app.tasks.register(Counter())
