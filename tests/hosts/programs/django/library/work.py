"""The ORM: relations, transaction.atomic with savepoints, bulk work, upserts, a refused row, the admin's pages."""

from django.contrib.auth.models import User
from django.db import IntegrityError, models, transaction
from django.test import Client

from library.models import Author, Book


def run():
    ada = Author.objects.create(name="Ada, 世界 🎈")
    with transaction.atomic():
        Book.objects.bulk_create(
            Book(author=ada, title=f"Volume {n}", price=f"{n}.50", extra={"n": [n]}) for n in range(300)
        )
        try:
            with transaction.atomic():  # A savepoint.
                Book.objects.all().delete()
                raise RuntimeError("rolled back")
        except RuntimeError as error:
            print(error)
    try:
        with transaction.atomic():
            Author.objects.create(name="lost")
            Author.objects.create(name="lost")
    except IntegrityError as error:
        print("refused:", error)
    with transaction.atomic():
        for book in Book.objects.select_for_update().filter(extra__n__0__gte=290):
            book.price += 1000
            book.save()
    Author.objects.bulk_create([Author(name="Grace"), Author(name="Grace")], ignore_conflicts=True)
    print(Author.objects.get_or_create(name="Grace")[1], Author.objects.update_or_create(name="Hedy")[1])
    print(Book.objects.aggregate(models.Count("id"), models.Sum("price")))
    admin()


def admin():
    """Somebody logs in, and adds an author by the form."""
    User.objects.create_superuser("admin", password="secret")
    client = Client()
    assert client.login(username="admin", password="secret")
    answer = client.post("/admin/library/author/add/", {"name": "by the admin"})
    assert answer.status_code == 302, answer.content
    print(client.get("/admin/library/author/").content.count(b"by the admin"))
