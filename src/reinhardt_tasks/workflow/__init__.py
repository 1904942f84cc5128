"""Messages that wait for others: chains, groups and graphs of steps, and what is read of them."""

from reinhardt_tasks.workflow.reading import Node, Tree, read

__all__ = ["Node", "Tree", "read"]
