"""Use-cases of the administrator: a file a noun; fleet.py is all of them."""
