"""The engine of one machine: it keeps the desired table, and a node process that carries it out.

The node (`node/`) is standard library only and survives everything above it; the rest of this folder runs in the control plane.
"""
