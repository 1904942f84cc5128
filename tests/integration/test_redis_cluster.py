"""Redis Cluster: a prefix lives on one node, which is found, left when it is no longer the one, and found again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from reinhardt_tasks.backends.redis.link import Link
from reinhardt_tasks.backends.redis.place import parse
from reinhardt_tasks.errors import BackendUnavailableError, ConfigurationError
from tests.eventually import eventually, eventually_async
from tests.servers.cluster import RedisCluster
from tests.servers.link import patiently, shouting, write
from tests.servers.redis import RedisServer, fresh_prefix
from tests.workshop import at_work


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    """Three masters, one of them with a replica."""
    with RedisCluster(replicas=1) as it:
        yield it


def root_on(cluster: RedisCluster, node: RedisServer) -> bytes:
    """Where keys begin that live on this node."""
    while cluster.master_of(root := f"{{{fresh_prefix()}}}") is not node:
        pass
    return root.encode()


def link_on(cluster: RedisCluster, root: bytes, *seeds: RedisServer) -> Link:
    """A link whose URL names these nodes."""
    return Link(parse(cluster.url(seeds))[0], root=root)


async def works(link: Link) -> bool:
    """Whether a call gets through now."""
    try:
        await write(link)
    except BackendUnavailableError:
        return False
    return True


def written(node: RedisServer) -> int:
    """How much a node has of its master's writes, or of its own."""
    offset: int = node.call("INFO", "replication")["master_repl_offset"]
    return offset


async def test_each_prefix_finds_its_node(cluster):
    """Whichever node the URL names, keys, scripts and pushes of a prefix go to the node that has its slot."""
    for node in cluster.masters:
        for seed in cluster.nodes:
            root = root_on(cluster, node)
            link = link_on(cluster, root, seed)
            await link.open()
            await write(link)
            assert node.call("EXISTS", root + b"lock:name") == 1
            await link.listener.ready()
            with link.listener.sleeper(b"s") as sleeper:
                await link.command("PUBLISH", link.listener.channel, "s")
                assert await sleeper.woken(5)
            assert (await link.check())["mode"] == "cluster"
            await link.close()


async def test_prefixes_on_two_nodes_serve_whole_queues(cluster):
    """Enqueue, push, run and result: two prefixes on two nodes serve a worker each, at once, and meet nowhere."""
    nodes = cluster.masters[1:]
    roots = [root_on(cluster, node).decode() for node in nodes]
    queues = [shouting(cluster.url(), root[1:-1]) for root in roots]
    async with queues[0][0], queues[1][0], at_work(queues[0][0]), at_work(queues[1][0]):
        for _, shout in queues:
            handles = [await shout.enqueue(f"n{n}") for n in range(50)]
            assert [await handle.result(timeout=20) for handle in handles] == [f"N{n}" for n in range(50)]
    for node, root in zip(nodes, roots, strict=True):
        counts = [len(any_node.call("KEYS", f"{root}*")) for any_node in cluster.masters]
        assert sum(counts) == counts[cluster.masters.index(node)] > 0


async def test_nodes_that_are_away_are_passed_over(cluster):
    """One node of the URL that answers is enough; it need not be the first, and names the others."""
    root = root_on(cluster, cluster.masters[2])
    with RedisServer() as gone:
        gone.kill()
        link = link_on(cluster, root, gone, cluster.masters[1])
        await link.open()
        assert await write(link)
        await link.close()


async def test_server_without_a_cluster_is_refused(redis_server):
    """A cluster's URL that leads to a single server says so."""
    link = Link(parse(f"redis+cluster://127.0.0.1:{redis_server.port}")[0], root=b"{x}")
    with pytest.raises(ConfigurationError, match="cluster support disabled"):
        await link.open()


async def test_slot_that_moves_is_followed(cluster):
    """While a slot is moved its prefix is unavailable; then it is found on its new node, and pushes with it."""
    source, target = cluster.masters[1], cluster.masters[2]
    root = root_on(cluster, source)
    slot = source.call("CLUSTER", "KEYSLOT", root)
    link = link_on(cluster, root, source)
    await link.open()
    await write(link)
    await link.listener.ready()
    ids = [node.call("CLUSTER", "MYID") for node in (source, target)]
    target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
    source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
    assert not await works(link)
    keys = source.call("CLUSTER", "GETKEYSINSLOT", slot, 1000)
    source.call("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
    for node in (target, source, *cluster.masters):
        node.call("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
    assert await patiently(lambda: write(link), timeout=5)
    assert target.call("EXISTS", root + b"lock:name") == 1
    await link.listener.ready()
    with link.listener.sleeper(b"s") as sleeper:
        await link.command("PUBLISH", link.listener.channel, "s")
        assert await sleeper.woken(5)
    await link.close()


async def test_work_goes_on_at_the_replica():
    """When a master dies its replica is promoted; worker and producer go on with what was there, and hear again."""
    with RedisCluster(replicas=1) as cluster:
        master, replica = cluster.masters[0], cluster.replicas[0]
        queue, shout = shouting(cluster.url(), root_on(cluster, master).decode()[1:-1])
        async with queue, at_work(queue):
            assert await (await shout.enqueue("before")).result(timeout=20) == "BEFORE"
            later = await shout.using(delay=2).enqueue("later")
            await eventually_async(lambda: written(master) == written(replica))
            waiting = asyncio.create_task(patiently(lambda: later.result(timeout=60), timeout=60))
            master.kill()
            handle = await patiently(lambda: shout.enqueue("after"))
            assert await handle.result(timeout=30) == "AFTER"
            assert await waiting == "LATER"
            assert replica.call("ROLE")[0] == b"master"


async def test_replica_takes_over(cluster):
    """When a master dies its replica is promoted; the same link goes on with what was there, and hears again."""
    master, replica = cluster.masters[0], cluster.replicas[0]
    root = root_on(cluster, master)
    link = link_on(cluster, root, *cluster.masters)
    await link.open()
    await write(link)
    await link.listener.ready()
    await eventually_async(lambda: written(master) == written(replica))
    with link.listener.sleeper(b"s") as sleeper:
        master.kill()
        outcomes = await asyncio.gather(*(works(link) for _ in range(20)))
        assert not any(outcomes)
        assert await patiently(lambda: write(link))
        assert await sleeper.woken(10)
    assert replica.call("ROLE")[0] == b"master"
    assert await link.command("EXISTS", root + b"lock:name") == 1
    master.start()
    eventually(lambda: master.call("ROLE")[0] == b"slave")
    assert await works(link)
    await link.close()
