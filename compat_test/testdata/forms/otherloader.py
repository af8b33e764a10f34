from celery.loaders.app import AppLoader


class Loader(AppLoader):
    def read_configuration(self, *args, **kwargs):
        return {"broker_url": "redis://localhost/1", "task_default_queue": "read by the loader"}
