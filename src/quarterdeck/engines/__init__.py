"""Engines: the only code that touches the world. Each takes a System as workloads and tells what it sees.

`local` runs them on this machine under a small supervisor, `memory` is for tests; both pass one contract suite.
"""
