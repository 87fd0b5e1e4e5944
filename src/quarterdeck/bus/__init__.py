"""The data plane: subjects, envelopes, accounts, links, and the clients of nats-server."""
