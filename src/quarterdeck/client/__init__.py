"""The way in from outside: HTTP to a control plane, through its unix socket or to its URL. `Client` and `AsyncClient` give a fleet work."""
