"""Simulated phones; they share no rendering and no TLS code with the server."""
