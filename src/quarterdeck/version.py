"""The versions, as constants that cost nothing to read; a test holds the first against the package's metadata."""

VERSION = "0.1.0"
API_VERSION = "quarterdeck.dev/v1alpha1"
"""Of the spec, and of every document that is told: its shape is stable."""
