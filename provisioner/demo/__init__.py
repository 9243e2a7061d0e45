"""A demonstration on this machine: an account, simulated phones and a caller, told as a table."""
