"""The console: pages for people, made on the server, over the same use-cases as the API and the command line."""
