"""Says what those have to know of the app who send its periodic tasks: its settings, and what each task is published with."""
from apium_driver import describe, manifest, refused, signing


def main(options):
    describe.answer(options, of)


def of(app, options):
    app.loader.init_worker()  # imports the app's modules, as Celery's beat does
    app.finalize()
    settings, lost = manifest.exported(app, options)
    return {
        "settings": settings, "lost": lost, "tasks": {name: manifest.publishing(task) for name, task in app.tasks.items()},
        "refused": refused.of_beat(False), "signing": signing.of(app),
    }
