"""The REST API of the administration: a table of routes, each with its right, over the command line's use-cases."""
