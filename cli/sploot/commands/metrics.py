"""`sploot metrics`: print the daemon's metrics."""

from __future__ import annotations

import sys

from sploot import exit_codes
from sploot.daemon_connect import open_client
from sploot.terminal import print_json
from splootd.codec import encode
from splootd.protocol import GetMetrics, GetReport, Report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import JsonOption


def metrics(*, as_json: JsonOption = False) -> int:
    """Print the daemon's metrics in Prometheus format. With --json, print a report."""
    if as_json:
        print_json(encode(open_client().request(GetReport(), Report)))
    else:
        sys.stdout.write(open_client().request_text(GetMetrics()))
    return exit_codes.DONE


COMMANDS = {"metrics": metrics}
