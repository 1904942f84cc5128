"""One file per system, with the verbs of `benchmarks.adapter`, imported in that system's interpreter only."""
