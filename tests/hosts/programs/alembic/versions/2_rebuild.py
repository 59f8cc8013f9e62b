"""tables made anew"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "2", "1"


def upgrade():
    with op.batch_alter_table("author") as batch:
        batch.add_column(sa.Column("born", sa.Integer, server_default="1815"))
        batch.alter_column("name", new_column_name="full_name", type_=sa.String(200))
    op.create_index("author_name", "author", ["full_name"], unique=True)
    with op.batch_alter_table("book", recreate="always") as batch:
        batch.alter_column("title", nullable=False)
        batch.create_check_constraint("has_title", "title <> ''")
        batch.create_index("book_title", ["title"])


def downgrade():
    with op.batch_alter_table("book", recreate="always") as batch:
        batch.drop_index("book_title")
        batch.drop_constraint("has_title", type_="check")
        batch.alter_column("title", nullable=True)
    op.drop_index("author_name")
    with op.batch_alter_table("author") as batch:
        batch.alter_column("full_name", new_column_name="name", type_=sa.String(80))
        batch.drop_column("born")
