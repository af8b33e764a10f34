"""An app with quorum queues: what is due later waits in native delayed delivery. delayed.py sends the cases of
TestDelayedByProducers: CASES says to which queue, and with which options.
"""
import json
import sys

from kombu import Exchange, Queue

from features import app

quorum = {"x-queue-type": "quorum"}
app.conf.update(
    task_default_queue="topics",
    task_queues=[
        Queue("topics", Exchange("tex", type="topic"), "a.b", queue_arguments=quorum),
        Queue("pattern", Exchange("tex", type="topic"), "t.#", queue_arguments=quorum),
        Queue("fan", Exchange("fex", type="fanout"), "f"),
        Queue("direct", Exchange("dex"), "d", queue_arguments=quorum),
        Queue("plain"),
    ],
)

if __name__ == "__main__":
    for task_id, (queue, options) in json.loads(sys.argv[1]).items():
        app.send_task("t", (1,), task_id=task_id, queue=queue, **options)
