"""Runs inside LangGraph's own environment: steps of one graph per second, checkpointed in memory. `python langgraph_peer.py COUNT`."""

from __future__ import annotations

import json
import sys
import time
from typing import TypedDict

from langgraph.checkpoint.memory import MemorySaver
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    """How many steps are left."""

    left: int


def main(count: int) -> None:
    """Print the rate."""
    graph = StateGraph(State)
    graph.add_node("step", lambda state: {"left": state["left"] - 1})
    graph.add_edge(START, "step")
    graph.add_conditional_edges("step", lambda state: "step" if state["left"] > 0 else END)
    built = graph.compile(checkpointer=MemorySaver())
    config = {"configurable": {"thread_id": "1"}, "recursion_limit": count + 10}
    began = time.perf_counter()
    assert built.invoke({"left": count}, config)["left"] == 0
    print(json.dumps({"per_second": count / (time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
