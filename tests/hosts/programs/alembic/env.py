"""As `alembic init` makes it, for migrations in batch mode."""

from alembic import context
from sqlalchemy import engine_from_config, pool

engine = engine_from_config(context.config.get_section("alembic"), prefix="sqlalchemy.", poolclass=pool.NullPool)
with engine.connect() as connection:
    context.configure(connection=connection, target_metadata=None, render_as_batch=True, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()
