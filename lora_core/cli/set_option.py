"""The option `--set KEY=VALUE`: any key of a training by its name; `training.config` reads what it is given."""

from __future__ import annotations

import click

set_option = click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Any other key by its name; repeat for several."
)
