s/max_length=80, unique=True/max_length=300, db_index=True/
s/title = models.CharField(max_length=200)/title = models.CharField(max_length=300, default="untitled", db_index=True)/
s/^    price = .*/    price = models.FloatField(default=0)\n    readers = models.ManyToManyField(Author, related_name="read")/
