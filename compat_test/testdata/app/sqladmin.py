"""Looks at django-celery-results' pages of the admin. Prints {"<page>": <its text>} as JSON.

sqladmin.py PATH...; makes the user root with the password secret.
"""
import html
import json
import re
import sys

import django

django.setup()

from django.contrib.auth.models import User  # noqa: E402
from django.test import Client  # noqa: E402

root, _ = User.objects.get_or_create(username="root", is_staff=True, is_superuser=True)
root.set_password("secret")
root.save()
client = Client()
client.force_login(root)
pages = {}
for path in sys.argv[1:]:
    answer = client.get(path, follow=True)
    assert answer.status_code == 200, (path, answer.status_code)
    text = re.sub(r"<(script|style).*?</\1>", "", answer.content.decode(), flags=re.S)
    values = " ".join(re.findall(r"<(?:input|textarea)[^>]*", text))
    pages[path] = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", text) + " " + values))
print(json.dumps(pages))
