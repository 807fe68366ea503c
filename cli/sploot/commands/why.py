"""`sploot why`: explain the state of one file, or what limits the speed."""

from __future__ import annotations

from sploot import exit_codes, render
from sploot.daemon_connect import open_client
from sploot.paths import parse_target
from sploot.terminal import get_style, print_json
from splootd.codec import encode
from splootd.errors import RequestError
from splootd.protocol import Bottleneck, Explanation, GetBottleneck, GetExplanation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, Option


def why(
    target: Annotated[str | None, Argument(metavar="PATH|ID")] = None,
    *,
    slow: Annotated[bool, Option("--slow", help="Explain what limits the speed now, and what helps.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Explain the state of one file and what happens next. With --slow, explain what limits the speed."""
    if (target is None) != slow:
        raise RequestError("bad_option", "give either one file or --slow", "sploot why --help")
    if target is None:
        return _explain_speed(as_json=as_json)
    explanation = open_client().request(GetExplanation(parse_target(target)), Explanation)
    if as_json:
        print_json(encode(explanation))
    else:
        print("\n".join(render.render_explanation(explanation, get_style())))
    return exit_codes.DONE


def _explain_speed(*, as_json: bool) -> int:
    bottleneck = open_client().request(GetBottleneck(), Bottleneck)
    if as_json:
        print_json(encode(bottleneck))
    else:
        print("\n".join(render.render_bottleneck(bottleneck, get_style())))
    return exit_codes.DONE


COMMANDS = {"why": why}
