from mysite.celery import app


@app.task
def add(x, y):
    return x + y


@app.task
def mul(x, y):
    return x * y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def hello():
    print("hello from a task")
    return "hello"
