"""An app that sets logging up itself: by hand, or at Celery's signal."""
import logging.config
import os

from celery import signals

from configured import celery_app

CONFIG = {
    "version": 1, "disable_existing_loggers": False,
    "formatters": {"own": {"format": "# %(levelname)s|%(name)s|%(processName)s| %(message)s"}},
    "handlers": {"own": {"class": "logging.StreamHandler", "formatter": "own"}},
    "root": {"level": "INFO", "handlers": ["own"]},
    "loggers": {"shop.plain": {"level": "DEBUG"}},
}

app = celery_app()
if os.environ.get("LOGS") == "signal":
    @signals.setup_logging.connect
    def setup(**kwargs):
        logging.config.dictConfig(CONFIG)
else:
    logging.config.dictConfig(CONFIG)
    app.conf.worker_hijack_root_logger = False
import shoptasks  # noqa: E402,F401
