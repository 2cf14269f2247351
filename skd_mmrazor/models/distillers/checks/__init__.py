"""Mistakes that would be silent, and errors that would not name a key of the config."""
