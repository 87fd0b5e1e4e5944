"""The node: a small supervisor that runs the desired table on this machine. Standard library only, one thread.

`main.py` wires it; `decide.py` is pure and says what should happen, the other files make it happen and tell what they see.
It holds no truth: the control plane pushes the table, and whatever an earlier boot of the node left is killed before anything starts.
"""
