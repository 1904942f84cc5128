"""What an operator should know of the database: version, durability, sizes, and who keeps dead rows in the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from reinhardt_tasks.backends.postgres.elders import elders
from reinhardt_tasks.backends.postgres.engine import Engine
from reinhardt_tasks.backends.postgres.place import Place

_FACTS: Final = """
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),
    pg_total_relation_size('{T}messages'), pg_total_relation_size('{T}ended'),
    (SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = '{T}messages'::regclass)
"""


async def facts(engine: Engine, place: Place) -> Mapping[str, str]:
    """See TaskBackend.check."""
    ((version, fsync, commit, hot, ended, dead),) = await engine.query(_FACTS.format(T=engine.names.tables))
    told = {
        "backend": "postgres",
        "place": str(place),
        "version": str(version),
        "tables": f"{engine.names.tables}…",
        "durability": f"fsync={fsync}, synchronous_commit={commit}",
        "unfinished bytes": str(hot),
        "finished bytes": str(ended),
        "dead rows": str(dead or 0),
    }
    if fsync == "off":
        told["warning fsync"] = "fsync is off: a crash of the machine may destroy the database. Turn it on."
    if commit == "off":
        told["warning synchronous_commit"] = (
            "the last messages before a crash may be lost. Set synchronous_commit = on."
        )
    for elder in (await elders(engine))[:1]:
        told["warning transaction"] = (
            f"session {elder.pid} of {elder.user} ({elder.program}) has had a transaction open for {elder.age:.0f} s; "
            f"until it ends no dead rows are removed and claims grow slow. End it, or: {elder.cure};"
        )
    return told
