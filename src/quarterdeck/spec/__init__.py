"""One YAML file to a validated system, and that system plus live Changes to what should be.

Start at `load.load` (text to `SystemSpec`, or every problem of the file at once) and `compose.compose` (spec and Changes to `Desired`).
Nothing here starts an engine, opens the store or talks to the bus; the one side effect is the throw-away child of `entry`.
"""
