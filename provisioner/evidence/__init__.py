"""Captures as evidence: the program that reads frames is run from here, and what it found becomes a page."""
