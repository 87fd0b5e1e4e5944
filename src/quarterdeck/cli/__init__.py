"""The command `qd`: thin and lazy. It talks to the control plane over its unix socket and imports server code only where a verb is it.

Start at `main.main`; `verbs` lists every verb and the module that carries it out, `dispatch` turns one of them into a Typer command.
"""
