"""Sound and keys of one call, sans-I/O: packets and the time come in as arguments, packets and digits come out.

Standard library only; no socket, no clock, no random numbers. ``session.Session`` is what a server talks to.
"""
