"""The truth: one SQLite file with one writer, the hash-chained Journal, and the content-addressed code trees of revisions.

`Store` (store.py) is the door. Every noun has a module of plain functions: those that change something take a `Writing` and run inside
`Store.write`, those that look take a `Connection` from `Store.read`. Nothing here decides anything, and nothing here knows the bus.
"""
