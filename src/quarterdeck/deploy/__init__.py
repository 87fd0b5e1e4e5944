"""From desired and observed to steps, phases, readiness; and the one loop that performs steps."""
