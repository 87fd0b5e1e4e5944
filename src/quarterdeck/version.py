"""The version, as a constant that costs nothing to read; a test holds it against the package's metadata."""

VERSION = "0.1.0"
