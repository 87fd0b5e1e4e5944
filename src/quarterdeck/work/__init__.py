"""Work: the ledger of tasks, which replicas reach over the bus and people through the doors."""
