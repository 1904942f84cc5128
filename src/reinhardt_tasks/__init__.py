"""reinhardt-tasks: a background task queue that never loses a task."""

from reinhardt_tasks.backends.dummy import DummyBackend
from reinhardt_tasks.backends.immediate import ImmediateBackend
from reinhardt_tasks.backends.memory import InMemoryMetadataStore, MemoryBackend, MemoryResultBackend
from reinhardt_tasks.config import QueueConfig
from reinhardt_tasks.context import TaskContext, current_task
from reinhardt_tasks.contract import TaskBackend
from reinhardt_tasks.cron import CronSchedule
from reinhardt_tasks.errors import (
    ArgumentError,
    BackendError,
    BackendExecutionFailedError,
    BackendFullError,
    BackendTaskNotFoundError,
    BackendUnavailableError,
    BadPayloadError,
    ConfigurationError,
    DirectoryMissingError,
    DuplicateTaskError,
    ExecutionFailedError,
    InvalidTextError,
    LeaseLostError,
    MaxRetriesExceededError,
    MetadataConflictError,
    MetadataNotFoundError,
    NotADatabaseError,
    NotFiniteError,
    OptionError,
    PayloadTooDeepError,
    PayloadTooLargeError,
    QueueError,
    ResultExpiredError,
    ResultMismatchError,
    ResultNotFoundError,
    ResultTimeoutError,
    ScheduleError,
    ScheduleNotFoundError,
    SchemaError,
    SerializationError,
    SignatureError,
    TargetError,
    TaskCancelledError,
    TaskError,
    TaskExecutionError,
    TaskNotFoundError,
    TaskTimeoutError,
    TransitionError,
    UnencodableError,
    UnsupportedError,
)
from reinhardt_tasks.executor import TaskExecutor
from reinhardt_tasks.handle import TaskHandle
from reinhardt_tasks.identity import AnyId, TaskId
from reinhardt_tasks.lifespan import Depends, Provider
from reinhardt_tasks.message import Message, Progress
from reinhardt_tasks.middleware import Middleware, Next
from reinhardt_tasks.options import EnqueueOptions
from reinhardt_tasks.queue import TaskQueue
from reinhardt_tasks.registry import TaskRegistry
from reinhardt_tasks.results import TaskOutput, TaskResult, TaskResultMetadata
from reinhardt_tasks.retry import Retry, RetryState, RetryStrategy, Seconds
from reinhardt_tasks.schedule import IntervalSchedule, OnceSchedule, Schedule
from reinhardt_tasks.scheduler import ScheduleInfo, Scheduler
from reinhardt_tasks.status import TaskPriority, TaskStatus
from reinhardt_tasks.step import Step
from reinhardt_tasks.stores import MetadataChange, MetadataStore, ResultBackend, TaskMetadata
from reinhardt_tasks.task import AsyncTask, SyncTask, Task
from reinhardt_tasks.worker import Worker, WorkerConfig
from reinhardt_tasks.workflow import ChainStatus, TaskChain, TaskChainBuilder, TaskDAG, TaskGroup, WorkflowHandle

__all__ = [
    "AnyId",
    "ArgumentError",
    "AsyncTask",
    "BackendError",
    "BackendExecutionFailedError",
    "BackendFullError",
    "BackendTaskNotFoundError",
    "BackendUnavailableError",
    "BadPayloadError",
    "ChainStatus",
    "ConfigurationError",
    "CronSchedule",
    "Depends",
    "DirectoryMissingError",
    "DummyBackend",
    "DuplicateTaskError",
    "EnqueueOptions",
    "ExecutionFailedError",
    "ImmediateBackend",
    "InMemoryMetadataStore",
    "IntervalSchedule",
    "InvalidTextError",
    "LeaseLostError",
    "MaxRetriesExceededError",
    "MemoryBackend",
    "MemoryResultBackend",
    "Message",
    "MetadataChange",
    "MetadataConflictError",
    "MetadataNotFoundError",
    "MetadataStore",
    "Middleware",
    "Next",
    "NotADatabaseError",
    "NotFiniteError",
    "OnceSchedule",
    "OptionError",
    "PayloadTooDeepError",
    "PayloadTooLargeError",
    "Progress",
    "Provider",
    "QueueConfig",
    "QueueError",
    "ResultBackend",
    "ResultExpiredError",
    "ResultMismatchError",
    "ResultNotFoundError",
    "ResultTimeoutError",
    "Retry",
    "RetryState",
    "RetryStrategy",
    "Schedule",
    "ScheduleError",
    "ScheduleInfo",
    "ScheduleNotFoundError",
    "Scheduler",
    "SchemaError",
    "Seconds",
    "SerializationError",
    "SignatureError",
    "Step",
    "SyncTask",
    "TargetError",
    "Task",
    "TaskBackend",
    "TaskCancelledError",
    "TaskChain",
    "TaskChainBuilder",
    "TaskContext",
    "TaskDAG",
    "TaskError",
    "TaskExecutionError",
    "TaskExecutor",
    "TaskGroup",
    "TaskHandle",
    "TaskId",
    "TaskMetadata",
    "TaskNotFoundError",
    "TaskOutput",
    "TaskPriority",
    "TaskQueue",
    "TaskRegistry",
    "TaskResult",
    "TaskResultMetadata",
    "TaskStatus",
    "TaskTimeoutError",
    "TransitionError",
    "UnencodableError",
    "UnsupportedError",
    "Worker",
    "WorkerConfig",
    "WorkflowHandle",
    "current_task",
]
