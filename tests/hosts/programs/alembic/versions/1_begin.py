"""begin"""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "1", None


def upgrade():
    author = op.create_table(
        "author", sa.Column("id", sa.Integer, primary_key=True), sa.Column("name", sa.String(80), nullable=False)
    )
    op.create_table(
        "book",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("author_id", sa.Integer, sa.ForeignKey("author.id")),
        sa.Column("title", sa.Text),
    )
    op.bulk_insert(author, [{"name": "Ada"}, {"name": "Grace"}])
    op.execute("INSERT INTO book(author_id, title) VALUES (1, 'Notes'), (2, 'Manual')")


def downgrade():
    op.drop_table("book")
    op.drop_table("author")
