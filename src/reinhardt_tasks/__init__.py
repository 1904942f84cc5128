"""reinhardt-tasks: a background task queue that never loses a task."""
