"""The app of tapp with queues that several exchanges feed."""
from kombu import Exchange, Queue, binding
from tapp import add, app  # noqa: F401

media = Exchange("media")
app.conf.task_queues = [
    Queue("films", [binding(media, routing_key="film"), binding(Exchange("news", type="topic"), routing_key="film.#")]),
    Queue("sounds", Exchange("unbound"), routing_key="sound", bindings=[binding(media, routing_key="sound")]),
    Queue("all", [binding(Exchange("fan", type="fanout"), routing_key="")]),
]
