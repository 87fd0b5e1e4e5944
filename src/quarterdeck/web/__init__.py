"""Server-rendered pages. One so far: Overview."""
