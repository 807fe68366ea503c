"""`sploot why`: explain the state of one file, or what limits the speed."""

from sploot import exit_codes, render
from sploot.daemon_connect import open_client
from sploot.paths import parse_target
from sploot.terminal import get_style, print_json
from splootd.codec import encode
from splootd.protocol import Bottleneck, Explanation, GetBottleneck, GetExplanation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typer import Typer


def why(target: str, *, as_json: bool = False) -> int:
    explanation = open_client().request(GetExplanation(parse_target(target)), Explanation)
    if as_json:
        print_json(encode(explanation))
    else:
        print("\n".join(render.render_explanation(explanation, get_style())))
    return exit_codes.DONE


def why_slow(*, as_json: bool = False) -> int:
    bottleneck = open_client().request(GetBottleneck(), Bottleneck)
    if as_json:
        print_json(encode(bottleneck))
    else:
        print("\n".join(render.render_bottleneck(bottleneck, get_style())))
    return exit_codes.DONE


def register(app: "Typer") -> None:
    from typing import Annotated

    import typer

    from sploot.typer_options import JsonOption

    @app.command("why")
    def command(
        target: Annotated[str | None, typer.Argument(metavar="PATH|ID")] = None,
        slow: Annotated[
            bool, typer.Option("--slow", help="Explain what limits the speed now, and what helps.")
        ] = False,
        as_json: JsonOption = False,
    ) -> int:
        """Explain the state of one file and what happens next. With --slow, explain what limits the speed."""
        if (target is None) != slow:
            raise typer.BadParameter("give either one file or --slow")
        return why_slow(as_json=as_json) if target is None else why(target, as_json=as_json)
