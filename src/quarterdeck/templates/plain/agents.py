"""Two agents. Greeters answer whoever asks; the counter, in a cluster of its own, counts names for them."""

from collections import Counter
from dataclasses import dataclass

from quarterdeck import Agent, Context

greeter, counter = Agent(), Agent()
seen: Counter[str] = Counter()


@dataclass(frozen=True)
class Visitor:
    """What a greeter is asked with; anything else is refused before it gets here."""

    name: str


@greeter.on("greet")
async def greet(visitor: Visitor, ctx: Context) -> str:
    """Ask the other cluster, over the link that the spec opens, and answer."""
    times = await ctx.ask("back/counter", "count", visitor)
    print(f"greeting {visitor.name}, time {times}")
    return f"Hello {visitor.name}, for the {times}. time"


@counter.on("count")
async def count(visitor: Visitor) -> int:
    """Count in memory: a restart forgets it."""
    seen[visitor.name] += 1
    return seen[visitor.name]
