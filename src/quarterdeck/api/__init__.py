"""The doors over HTTP: one file per noun. Thin: they authenticate, parse once with limits, call the fleet, and give values a stable shape."""
