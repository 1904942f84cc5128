"""A demo on input nobody made up: it indexes the standard library of the Python that runs it, one message per file."""
