"""The app has a name of its own, and the module a lot to say."""
import os
import subprocess
import sys

from celery import Celery

print("lonely is loaded: ['", sys.argv[0])
os.write(1, b"and writes\n")
subprocess.run(["echo", "and has others write"])
instance = Celery("lonely", broker="redis://localhost/1")
instance.conf.task_default_queue = "lonely"
number = 3
