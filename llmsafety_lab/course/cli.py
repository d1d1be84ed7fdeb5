"""The command ``llmsafety-lab``."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from llmsafety_lab.course import authors, teachers
from llmsafety_lab.errors import CourseError

Command = Callable[[argparse.Namespace], int]


def parser() -> argparse.ArgumentParser:
    """Return the command line's parser."""
    top = argparse.ArgumentParser(
        prog="llmsafety-lab",
        description="Builds, executes and grades the course.",
        epilog="Example: llmsafety-lab exercises",
    )
    top.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(function: Command, help: str, example: str) -> Any:
        one = commands.add_parser(
            function.__name__.strip("_"), help=help, description=help, epilog=f"Example: llmsafety-lab {example}"
        )
        one.set_defaults(function=function)
        one.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return one

    authors.commands(add)
    teachers.commands(add)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0 where all is well, 1 where something failed, 2 where the call is wrong.

    What is expected to go wrong (`CourseError`) and what the system refuses are shown as one line, all else with its
    traceback.
    """
    options = parser().parse_args(arguments)
    try:
        code = options.function(options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted; the same command goes on where this one stopped", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains once more at its end
        return 0
    except (CourseError, OSError) as error:
        if options.debug:
            traceback.print_exc()
        message = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
        print(f"llmsafety-lab {options.command}: {message}", file=sys.stderr)
        return 2 if isinstance(error, ValueError | LookupError | OSError) else 1


if __name__ == "__main__":
    sys.exit(main())
