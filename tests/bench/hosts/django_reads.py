"""A worker of tests/bench/hosts/compare.py: Django's ORM. django_reads.py FILE"""

import random
import sys

import django
from django.conf import settings

import worker

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[1]}}, INSTALLED_APPS=[]
)
django.setup()

from django.db import models, transaction  # noqa: E402


class Item(models.Model):
    name = models.TextField()
    price = models.FloatField()
    note = models.TextField()

    class Meta:
        app_label, db_table, managed = "bench", "item", False


ROWS = Item.objects.count()


def get():
    for _ in range(600):
        Item.objects.get(pk=random.randrange(1, ROWS))


def filter_by_name():
    for _ in range(600):
        Item.objects.filter(name=f"item {random.randrange(1, ROWS)}").first()


def hundred_objects():
    for _ in range(100):
        first = random.randrange(1, ROWS - 100)
        list(Item.objects.filter(pk__range=(first, first + 99)))


def reads_in_atomic():
    for _ in range(40):
        with transaction.atomic():
            for _ in range(10):
                Item.objects.get(pk=random.randrange(1, ROWS))


worker.serve(get, filter_by_name, hundred_objects, reads_in_atomic)
