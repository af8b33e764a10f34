"""What celery-exporter makes of Celery's events and of inspect's answers.

    exporter.py PORT    serves it at /metrics, as Prometheus text, to the address 127.0.0.1

celery-exporter itself is on no package index. This has its logic: each event goes through
celery.events.State and is counted with what State then knows of the task.
"""
import collections
import http.server
import re
import sys
import threading

from celery.utils.nodenames import nodesplit

from tapp import app

STEPS = "received started succeeded failed rejected revoked retried".split()
BUCKETS = "0.005 0.01 0.025 0.05 0.075 0.1 0.25 0.5 0.75 1.0 2.5 5.0 7.5 10.0 +Inf".split()

state = app.events.State()
figures = collections.defaultdict(float)  # of a series, as Prometheus writes it


def series(metric, **labels):
    return "celery_%s{%s}" % (metric, ",".join('%s="%s"' % item for item in sorted(labels.items())))


def count_task(event):
    state.event(event)
    task, step = state.tasks[event["uuid"]], event["type"][len("task-"):]
    labels = {
        "name": task.name, "hostname": nodesplit(task.hostname)[1],
        "queue_name": getattr(task, "queue", "celery"),
    }
    if step == "sent":
        figures[series("task_sent_total", **labels)] += 1
    for other in STEPS:  # all counters of a task are there with the first
        more = {"exception": ""} if other == "failed" else {}
        if other == "failed" == step:
            name = re.match(r"\w+(?=\()", task.exception)
            more["exception"] = name.group() if name else "UnknownException"
        figures[series("task_%s_total" % other, **labels, **more)] += other == step
    if step == "succeeded":
        for bound in BUCKETS:
            figures[series("task_runtime_bucket", le=bound, **labels)] += task.runtime <= float(bound)
        figures[series("task_runtime_count", **labels)] += 1
        figures[series("task_runtime_sum", **labels)] += task.runtime


def watch_worker(event):
    worker, _ = state.event(event)[0]
    hostname = nodesplit(worker.hostname)[1]
    figures[series("worker_up", hostname=hostname)] = float(worker.alive)
    figures[series("worker_tasks_active", hostname=hostname)] = worker.active or 0


def ask_workers():
    inspect = app.control.inspect(timeout=1)
    processes = {node: len(stats["pool"]["processes"]) for node, stats in (inspect.stats() or {}).items()}
    totals = collections.defaultdict(lambda: [0, 0])
    for node, queues in (inspect.active_queues() or {}).items():
        for queue in queues:
            totals[queue["name"]][0] += 1
            totals[queue["name"]][1] += processes.get(node, 0)
    with app.connection() as connection:
        for queue, (workers, slots) in totals.items():
            figures[series("active_worker_count", queue_name=queue)] = workers
            figures[series("active_process_count", queue_name=queue)] = slots
            figures[series("queue_length", queue_name=queue)] = connection.default_channel.client.llen(queue)


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        ask_workers()
        self.send_response(200)
        self.end_headers()
        self.wfile.write("".join("%s %s\n" % item for item in list(figures.items())).encode())


def main():
    server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    handlers = dict.fromkeys(["task-" + step for step in STEPS + ["sent"]], count_task)
    handlers.update(dict.fromkeys(["worker-online", "worker-heartbeat", "worker-offline"], watch_worker))
    with app.connection_for_read() as connection:
        receiver = app.events.Receiver(connection, handlers=handlers)
        receiver.on_consume_ready = lambda *args, **kwargs: print("listening", flush=True)
        receiver.capture(limit=None, timeout=None)


if __name__ == "__main__":
    main()
