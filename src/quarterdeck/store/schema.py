"""The shape of the database and how it gets there: Alembic migrations in one transaction, skipped when nothing is to do.

Alembic costs a second to import, so it is imported only when the stored revision is not `HEAD`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from quarterdeck.errors import Terminal

HEAD: Final = "0005"
"""The newest migration; a test compares it with the folder."""
FOLDER: Final = Path(__file__).parent / "migrations"


def migrate(engine: Engine) -> bool:
    """Bring the database to `HEAD`; True when something was done. Raises Terminal for a database of a newer version."""
    with engine.begin() as connection:
        found = stored(connection)
        if found == HEAD:
            return False
        _upgrade(connection)
    return True


def require(connection: Connection) -> None:
    """Raise Terminal unless the database is at `HEAD`; for stores that may only be read."""
    found = stored(connection)
    if found != HEAD:
        msg = f"the database is at schema {found or 'none'}, this version needs {HEAD}, and it cannot be written now"
        raise Terminal(msg, hint="make room on the disk, then start again")


def stored(connection: Connection) -> str | None:
    """The revision the database is at."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 slow to import, rarely needed
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util.exc import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        msg = f"the database cannot be brought to schema {HEAD}: {error}"
        raise Terminal(msg, hint="it was made by a newer version of Quarterdeck: install that one") from error
