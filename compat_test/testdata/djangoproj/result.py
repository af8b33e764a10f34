"""Prints what AsyncResult(id).get() returns for each id given."""
import json
import sys

from celery.result import AsyncResult
from proj.celery import app

print(json.dumps([AsyncResult(id, app=app).get(timeout=20) for id in sys.argv[1:]]))
