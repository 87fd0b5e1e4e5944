"""What of a target is left, each answer from where it can be seen: processes from /proc, connections from the bus's own list.

Asks neither the node nor the control plane, so that it holds while they hang; used by both doors of a stop.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Mapping
from typing import Any, Final

from quarterdeck.bus import claims, server
from quarterdeck.bus.access import Access
from quarterdeck.bus.keys import Keys
from quarterdeck.clock import Clock
from quarterdeck.engines.local.living import living, of
from quarterdeck.engines.local.node.lifecycle import MARK
from quarterdeck.errors import QuarterdeckError
from quarterdeck.model.home import Home
from quarterdeck.model.stops import Source

PROCESSES: Final = "/proc"
BUS: Final = "bus $SYS CONNZ"
_ANSWER_WITHIN: Final = 0.8
_CONNECT_WITHIN: Final = 0.3
_MOST: Final = 100_000
_SHOWN: Final = 5


def processes(home: Home, system: str, target: str) -> Source:
    """The processes of a target that are alive, in whatever state but dead."""
    everything = living(home, MARK)
    found = of(everything, system, target)
    told = f"looked at {len(everything)} processes of this home" if not found else _few(one.told for one in found)
    return Source(PROCESSES, "processes of the target that are alive", len(found), told)


async def connections(home: Home, clock: Clock, system: str, target: str) -> Source:
    """The connections of a target's users, by the server's own word; none where no server listens."""
    claim = "connections of its users to the bus"
    port = server.kept_port(home)
    if port is None:
        return Source(BUS, claim, 0, "this home never had a bus, so nobody is connected to one")
    if await asyncio.to_thread(_refuses, port):
        return Source(BUS, claim, 0, f"no bus listens at 127.0.0.1:{port}, so nobody is connected to one")
    access = Access(server.url(port), Keys(home.keys), clock)
    try:
        async with asyncio.timeout(_ANSWER_WITHIN):
            body = json.dumps({"auth": True, "limit": _MOST}).encode()
            listed = (await access.system("SERVER.PING.CONNZ", body))["data"]
    except TimeoutError:
        return Source(BUS, claim, None, f"the bus did not answer within {_ANSWER_WITHIN:g} s")
    except (QuarterdeckError, OSError) as error:
        return Source(BUS, claim, None, str(error))
    finally:
        await access.close()
    if listed["total"] > len(listed["connections"]):
        return Source(BUS, claim, None, f"the bus told {len(listed['connections'])} of {listed['total']} connections")
    users = [user for each in listed["connections"] if (user := _user(each, system, target))]
    told = f"none among {listed['total']} connections" if not users else _few(iter(users))
    return Source(BUS, claim, len(users), told)


def _user(connection: Mapping[str, Any], system: str, target: str) -> str:
    """`system:cluster/agent-n:incarnation` of a target's user, by the JWT that the server has checked; empty for anybody else.

    The name that a client gives itself says nothing: an agent may call itself whatever it likes.
    """
    own, _, cluster = str(connection.get("name_tag") or "").partition(".")  # the tag is its account's name
    jwt = str(connection.get("jwt") or "")
    if not cluster or not jwt or (system and own != system):
        return ""
    name = str(claims.read(jwt)["name"])
    agent = name.partition(":")[0].rpartition("-")[0]
    return f"{own}:{name}" if "/" in name and target in ("", cluster, agent) else ""


def _refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), _CONNECT_WITHIN).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # it takes no connection and does not refuse it: something is there
        return False
    return False


def _few(told: Any) -> str:
    every = list(told)
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return "; ".join(every[:_SHOWN]) + more
