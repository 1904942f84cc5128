"""Messages on a Redis or Valkey server, shared by all machines that reach it."""
