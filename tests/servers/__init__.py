"""Servers that tests start for themselves, on free ports and in directories of their own, and bad lines to them."""
