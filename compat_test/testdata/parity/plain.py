"""An app as it is in the tutorials: tasks, and nothing hooked in anywhere."""
from configured import celery_app

app = celery_app()
import shoptasks  # noqa: E402,F401


@app.task
def own(x):
    return [x, own.name]

