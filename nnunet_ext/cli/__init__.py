"""The ``nnunet_ext`` command line, one file a group of commands.

Commands import what they need when they run: ``nnunet_ext path`` is in users' start-up files and must not wait for
nnU-Net.
"""

import sys
from typing import Annotated

import typer

from nnunet_ext.cli import check, datasets, missing_modalities, models, plan, scores, setup, uncertainty, workflow
from nnunet_ext.cli.termination import clean_exit_on_sigterm
from nnunet_ext.errors import UserError
from nnunet_ext.version import version_text

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # panels cut choices and paths into pieces on a narrow screen, and [KEY=VALUE] is taken for markup
    rich_markup_mode=None,
)
for group in (setup, plan, models, datasets, check, missing_modalities, scores, uncertainty, workflow):
    app.add_typer(group.app)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"nnunet_ext {version_text()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Version and commit, and exit.")
    ] = False,
) -> None:
    """Multi-modal MR segmentation methods as nnU-Net v2 trainers."""


def main() -> None:
    """Run the command line; a user's mistake or a failing disk is one message and exit code 1."""
    try:
        with clean_exit_on_sigterm():
            app()
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(1)
    except OSError as error:  # files that may not be read, folders that may not be listed
        place = f"{error.filename}: " if error.filename is not None else ""
        print(f"Error: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(1)
