"""Messages that wait for others: chains, groups and graphs of steps, and what is read of them."""

from reinhardt_tasks.workflow.chain import ChainStatus, TaskChain, TaskChainBuilder
from reinhardt_tasks.workflow.dag import TaskDAG
from reinhardt_tasks.workflow.group import TaskGroup
from reinhardt_tasks.workflow.handle import WorkflowHandle
from reinhardt_tasks.workflow.part import Workflow
from reinhardt_tasks.workflow.reading import Node, Tree, read

__all__ = [
    "ChainStatus",
    "Node",
    "TaskChain",
    "TaskChainBuilder",
    "TaskDAG",
    "TaskGroup",
    "Tree",
    "Workflow",
    "WorkflowHandle",
    "read",
]
