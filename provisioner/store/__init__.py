"""Queries over one schema for SQLite and PostgreSQL; the rest of the house sees frozen values only."""
