"""Makes the first migrations, applies them, and works: main.py FILE."""

import os
import sys

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
os.environ["DATABASE"] = sys.argv[1]

import django  # noqa: E402
from django.core.management import call_command  # noqa: E402

django.setup()
call_command("makemigrations", "library", verbosity=0)
call_command("migrate", verbosity=0)

from library import work  # noqa: E402

work.run()
