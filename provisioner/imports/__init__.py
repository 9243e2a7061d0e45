"""Phones, people and lines out of files of others: read, planned as a whole, then written row by row."""
