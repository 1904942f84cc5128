"""For tests of applications and of backends: a clock that stands still, a pytest plugin, the conformance suite."""
