"""A list of notes that everybody sees, as in programs/node/express.cjs. All that it knows of replicas is whom to ask why a note
could not be taken."""

import json

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.http import FileResponse, JsonResponse

from .models import Note


def page(_request):
    return FileResponse(open(settings.BASE_DIR / "notes.html", "rb"))


def notes(request):
    if request.method == "POST":
        try:
            with transaction.atomic():
                Note.objects.create(text=json.loads(request.body)["text"])
        except OperationalError as problem:
            return JsonResponse({"problem": f"{problem.__cause__.sqlite_errorname}: {reason()}"}, status=503)
        return JsonResponse({"notes": texts()})
    return JsonResponse(texts(), safe=False)


def texts():
    return list(Note.objects.order_by("id").values_list("text", flat=True))


def reason():
    with connection.cursor() as cursor:
        return cursor.execute("SELECT turso_last_error()").fetchone()[0]
