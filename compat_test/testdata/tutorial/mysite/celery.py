"""The app of Celery's tutorial, with this test's Redis."""
import os

from celery import Celery

app = Celery("mysite", broker=os.environ["BROKER"], backend=os.environ["BACKEND"], include=["mysite.tasks"])
app.conf.update(result_expires=3600)

if __name__ == "__main__":
    app.start()
