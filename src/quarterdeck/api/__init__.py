"""The doors over HTTP: one file per noun. They authenticate, parse once, call the fleet, and give values a stable shape."""
