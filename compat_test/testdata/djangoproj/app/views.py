from django.http import JsonResponse

from app import tasks


def answer(result):
    response = JsonResponse({"code": 0, "msg": "这是一个后台任务"}, json_dumps_params={"ensure_ascii": False})
    response["X-Task-Id"] = result.id
    return response


def test(request):
    return answer(tasks.test.delay(1, 2))


def greet(request):
    return answer(tasks.greet.delay(request.GET["name"]))
