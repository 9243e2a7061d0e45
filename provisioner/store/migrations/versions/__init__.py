"""One module a schema version, named by its number; what has shipped is never edited."""
