"""An app that starts a thread while it is loaded."""
import os
import threading

from celery import Celery

app = Celery("threaded", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
threading.Thread(target=threading.Event().wait, name="of-the-app", daemon=True).start()
