from celery import shared_task


@shared_task
def test(a, b):
    return a + b


@shared_task
def greet(name, *, greeting="您好"):
    return {"text": greeting + ", " + name}
