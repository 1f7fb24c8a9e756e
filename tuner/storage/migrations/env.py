"""Alembic's entry: runs the migrations on the connection that `tuner.storage.database` hands over."""

from alembic import context

from tuner.storage.database import VERSION_TABLE
from tuner.storage.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,
)
context.run_migrations()
