"""The command line over the use-cases: a file a noun; main.py is the group."""
