"""Arguments and results ↔ bytes, by the task's own annotations; limits; signing and encryption."""

from reinhardt_tasks.codec.arguments import ArgumentsCodec
from reinhardt_tasks.codec.limits import DEFAULT, Limits
from reinhardt_tasks.codec.seal import Seal
from reinhardt_tasks.codec.values import ValueCodec

__all__ = ["DEFAULT", "ArgumentsCodec", "Limits", "Seal", "ValueCodec"]
