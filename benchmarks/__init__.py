"""Speed of this project beside its peers: one driver, one adapter per system, ratios from one run.

The driver needs the standard library only. Everything of a peer runs in that peer's own interpreter.
"""
