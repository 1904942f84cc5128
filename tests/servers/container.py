"""Servers of tests in containers, where testcontainers is installed and reaches a Docker engine."""

from __future__ import annotations

import importlib
import warnings
from typing import Any


def contained(module: str, kind: str, image: str, **options: Any) -> Any | None:
    """A started container of `kind`, such as `RedisContainer` of the module `redis`; None where there can be none."""
    made_of = _kind(module, kind)
    if made_of is None:
        return None
    engine = importlib.import_module("docker.errors")
    try:
        made = made_of(image, **options)
        made.start()
    except engine.DockerException:
        return None
    return made


def _kind(module: str, kind: str) -> Any | None:
    """Older releases have it in the second place, where newer ones warn, which is an error in tests."""
    for place in (f"testcontainers.community.{module}", f"testcontainers.{module}"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return getattr(importlib.import_module(place), kind)
        except ImportError:
            continue
    return None
