"""Command line: `python -m benchmarks setup`, then `python -m benchmarks run`."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path
from subprocess import CalledProcessError

from benchmarks import driver, environments, machine, report
from benchmarks.bench import PeerError
from benchmarks.cases import CASES, MEASURES, chosen
from benchmarks.driver import QUICK, WHOLE, Effort
from benchmarks.guard import guarded
from benchmarks.tables import tables

MISSING = 2


def main() -> int:
    """Exit status: 0 done (whatever the verdicts), 1 a peer failed, 2 the call does not fit."""
    arguments = _parser().parse_args()
    try:
        arguments.do(arguments)
    except (PeerError, CalledProcessError) as failed:
        sys.stderr.write(f"{failed}\n")
        return 1
    except (environments.MissingEnvironmentError, FileNotFoundError, PermissionError, ValueError) as wrong:
        sys.stderr.write(f"{wrong}\n")
        return MISSING
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="This project beside its peers.")
    commands = parser.add_subparsers(required=True)
    setup = commands.add_parser("setup", help="make one environment per peer")
    setup.add_argument("peers", nargs="*", metavar="PEER", help=f"only these of: {', '.join(environments.peers())}")
    setup.set_defaults(do=_setup)
    run = commands.add_parser("run", help="measure and print")
    run.add_argument("cases", nargs="*", metavar="CASE", help="names or patterns, as 'redis/*fast'; else all")
    run.add_argument(
        "--measures", nargs="+", default=MEASURES, choices=MEASURES, metavar="MEASURE", help=", ".join(MEASURES)
    )
    run.add_argument("--quick", action="store_true", help="a short look; its figures are no more than a hint")
    run.add_argument("--repeats", type=_positive, help="repeats of each measurement (3)")
    run.add_argument("--messages", type=_positive, help="a fixed size for a quick look; else sized by pilots")
    run.add_argument("--backlog", type=_positive, help="the large store of the claim costs (1,000,000)")
    run.add_argument("--store", type=Path, default=environments.HERE / ".stores", help="where brokers have their files")
    run.add_argument("--json", type=Path, metavar="FILE", help="write every value to FILE")
    run.set_defaults(do=_run)
    profile = commands.add_parser("profile", help="where the time of one message of this project goes")
    brokers = ("sqlite", "redis", "postgres")
    profile.add_argument("broker", nargs="?", default="sqlite", choices=brokers, help="sqlite unless told")
    profile.add_argument("--messages", type=_positive, default=200_000, help="how many to drain (200,000)")
    profile.add_argument("--repeats", type=_positive, default=3, help="how often; the quickest is shown (3)")
    profile.add_argument("--store", type=Path, default=environments.HERE / ".stores", help="where the files live")
    profile.set_defaults(do=_profile)
    commands.add_parser("cases", help="list the cases").set_defaults(do=_cases)
    page = commands.add_parser("tables", help="the figures of a run as tables in Markdown")
    page.add_argument("file", type=Path, help="what run --json wrote")
    page.set_defaults(do=_tables)
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _setup(arguments: argparse.Namespace) -> None:
    known = environments.peers()
    if unknown := set(arguments.peers) - set(known):
        raise ValueError(f"no peer is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for peer in arguments.peers or known:
        _say(f"environment of {peer}")
        environments.make(peer)


def _cases(_: argparse.Namespace) -> None:
    for case in CASES:
        sys.stdout.write(f"{case.name}: {', '.join(case.measures)}\n")


def _tables(arguments: argparse.Namespace) -> None:
    sys.stdout.write(tables(json.loads(arguments.file.read_text())))


def _profile(arguments: argparse.Namespace) -> None:
    from benchmarks.profiles import PROFILES  # noqa: PLC0415 - imports this project, which the other commands do without

    arguments.store.mkdir(parents=True, exist_ok=True)
    with guarded(arguments.store) as guard:
        runs = [PROFILES[arguments.broker](arguments.messages, guard) for _ in range(arguments.repeats)]
    for part, microseconds in min(runs, key=lambda lines: lines[0].microseconds):
        sys.stdout.write(f"{microseconds:7.2f} us  {part}\n")


def _run(arguments: argparse.Namespace) -> None:
    arguments.store.mkdir(parents=True, exist_ok=True)
    plan = driver.Plan(
        cases=chosen(arguments.cases),
        measures=arguments.measures,
        effort=_effort(arguments),
        messages=arguments.messages,
        say=_say,
    )
    where, warnings = machine.describe(arguments.store), machine.warnings(arguments.store)
    for warning in warnings:
        _say(f"WARNING: {warning}")
    with guarded(arguments.store) as guard:
        found = driver.execute(plan, guard)
    sys.stdout.write(report.text(plan, found, where, warnings) + "\n")
    if arguments.json:
        arguments.json.write_text(report.as_json(plan, found, where, warnings))


def _effort(arguments: argparse.Namespace) -> Effort:
    """As much as is asked for."""
    asked = {name: getattr(arguments, name) for name in ("repeats", "backlog") if getattr(arguments, name)}
    return replace(QUICK if arguments.quick else WHOLE, **asked)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
