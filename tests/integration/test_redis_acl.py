"""Redis users with the least rights: what is documented is enough, and nothing of it is too much.

The conformance suite runs as such a user; here is what it does not show.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest

from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.place import parse
from reinhardt_tasks.errors import BackendError, ConfigurationError
from tests.servers.cluster import RedisCluster
from tests.servers.link import write
from tests.servers.redis import RedisServer
from tests.servers.rights import CALLS, FOR_OPTIONS, SCRIPTS, USEFUL, add_user, rights

PAGE = Path(__file__).parents[2] / "docs/backends/redis.md"
PACKAGE = resources.files("reinhardt_tasks.backends.redis")
QUOTED = re.compile(r"'([A-Z]{3,})'")
SENT = re.compile(r"""(?:ask|command|packed)\(\(?(?:wire, )?b?"([A-Z]+)"(?:, "([A-Z]+)")?""")
ALWAYS_ALLOWED = {"hello"}
OF_SENTINELS = {"sentinel"}
BY_REDIS_PY = {"select"}


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """A server whose users the tests make."""
    with RedisServer({"appendonly": "yes"}) as it:
        yield it


def link_as(server: RedisServer, name: str, *, prefix: str = "shop:", path: str = "") -> Link:
    """A link of this user on keys with this prefix."""
    return Link(parse(server.url(user=name, password="word") + path)[0], root=f"{{{prefix}}}".encode())


def test_documented_rights_are_those_that_scripts_need(server):
    """Every command that stands in a script is in the list, and the list has no other."""
    known = {name.decode().upper() for name in server.call("EVAL", "return redis.call('COMMAND', 'LIST')", 0)}
    files = [file for file in (PACKAGE / "lua").iterdir() if file.name.endswith(".lua")]
    named = {word for file in files for word in QUOTED.findall(file.read_text("utf-8"))}
    assert {word.lower() for word in named & known} == SCRIPTS


def test_documented_rights_are_those_of_what_is_sent():
    """The same for what is sent from outside of scripts."""
    files = [file for file in PACKAGE.iterdir() if file.name.endswith(".py")]
    sent = {
        f"{command}|{word}".lower() if word else command.lower()
        for file in files
        for command, word in SENT.findall(file.read_text("utf-8"))
    }
    assert sent | BY_REDIS_PY == CALLS | USEFUL | FOR_OPTIONS | ALWAYS_ALLOWED | OF_SENTINELS


def test_page_grants_what_the_tests_grant():
    """A reader who copies the line of the page makes the user that the suite runs as, with a password."""
    (line,) = re.findall(r"ACL SETUSER tasks on >password ([^`]+)```", PAGE.read_text("utf-8"))
    assert sorted(line.split()) == sorted(rights(prefix="reinhardt:tasks:"))


async def test_user_with_the_least_rights_opens_calls_waits_and_checks(server):
    """What is needed is granted: the useful rights may be missing."""
    add_user(server, "least", *rights(prefix="shop:"))
    link = link_as(server, "least")
    await link.open()
    await write(link)
    await link.listener.ready()
    assert "this user may not ask" in (await link.check())["durability"]
    await link.close()


async def test_useful_rights_are_used(server):
    """With them clients have a name, and `check` says what a crash may lose."""
    add_user(server, "useful", *rights(prefix="shop:", commands=SCRIPTS | CALLS | USEFUL))
    link = link_as(server, "useful")
    await link.open()
    assert b"name=reinhardt-tasks" in server.call("CLIENT", "LIST")
    assert "may not ask" not in (await link.check())["durability"]
    await link.close()


async def test_user_has_no_business_with_other_keys(server):
    """Another prefix is refused at open, with what is missing."""
    add_user(server, "shop", *rights(prefix="shop:"))
    link = link_as(server, "shop", prefix="other:")
    with pytest.raises(ConfigurationError, match=r"lacks a right: .*key"):
        await link.open()


@pytest.mark.parametrize("command", ["get", "info"])
async def test_right_that_opening_needs_is_named(server, command):
    """A command that is missing for `open` is named at once."""
    add_user(server, "lame", *rights(prefix="shop:", commands=(SCRIPTS | CALLS) - {command}))
    with pytest.raises(ConfigurationError, match=f"lacks a right: .*'{command}"):
        await link_as(server, "lame").open()


@pytest.mark.parametrize("command", ["eval", "evalsha"])
async def test_right_that_a_call_needs_is_named(server, command):
    """A command that is missing for a verb is named by the verb."""
    add_user(server, "lame", *rights(prefix="shop:", commands=(SCRIPTS | CALLS) - {command}))
    server.call("SCRIPT", "FLUSH")
    link = link_as(server, "lame")
    await link.open()
    with pytest.raises(BackendError, match=f"lacks a right: .*'{command}'"):
        await write(link)
    await link.close()


async def test_right_that_a_script_needs_is_told(server):
    """A command that is missing inside of a script is told as a missing right, too."""
    add_user(server, "lame", *rights(prefix="shop:", commands=(SCRIPTS | CALLS) - {"del"}))
    link = link_as(server, "lame")
    await link.open()
    with pytest.raises(BackendError, match="lacks a right"):
        await write(link)
    await link.close()


async def test_right_to_a_channel_is_told(server):
    """Who may not hear its own channel is told so when it first waits."""
    add_user(server, "deaf", *rights(prefix="shop:"), "resetchannels")
    link = link_as(server, "deaf")
    await link.open()
    with pytest.raises(BackendError, match=r"lacks a right: .*channel"):
        await link.listener.ready()
    await link.close()


@pytest.mark.parametrize("command", [{"select"}, set()])
async def test_database_needs_a_right(server, command):
    """A database other than 0 needs SELECT."""
    add_user(server, "based", *rights(prefix="shop:", commands=SCRIPTS | CALLS | command))
    link = link_as(server, "based", path="/1")
    if command:
        await link.open()
        await link.close()
    else:
        with pytest.raises(ConfigurationError, match=r"lacks a right: .*'select'"):
            await link.open()


async def test_cluster_needs_a_right():
    """Nodes are asked for the slots."""
    with RedisCluster(masters=1) as cluster:
        node = cluster.masters[0]
        for commands, told in ((SCRIPTS | CALLS | {"cluster|slots"}, ""), (SCRIPTS | CALLS, "'cluster|slots'")):
            add_user(node, "worker", *rights(prefix="shop:", commands=commands))
            url = cluster.url().replace("://", "://worker:word@")
            link = Link(parse(url)[0], root=b"{shop:}")
            if told:
                with pytest.raises(ConfigurationError, match=re.escape(told)):
                    await link.open()
            else:
                await link.open()
                assert await write(link)
                await link.close()
