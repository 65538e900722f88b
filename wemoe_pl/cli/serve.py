"""Run `wemoe-pl serve RUN`: answer requests over HTTP until the command is ended.

Like `predict RUN IMAGES`, it imports no Lightning, which would take longer than loading a model.
"""

from importlib.util import find_spec

from wemoe_pl.cli.faults import faults_explained
from wemoe_pl.cli.launchers import refuse_several
from wemoe_pl.cli.verb_parsers import serve_parser
from wemoe_pl.errors import ConfigError
from wemoe_pl.system.terminal import guard_output, say


def run_serve(args: list[str]) -> None:
    """Run `wemoe-pl serve RUN`.

    Args:
        args: the command line: "serve", a run or an export, and options.

    Raises:
        WeMoEError: something is wrong that a user can put right.
        Stopped: a signal has asked the command to end.
    """
    guard_output()
    refuse_several("serve")
    options = serve_parser().parse_args(args[1:])
    if find_spec("litserve") is None:
        raise ConfigError(
            "A server needs LitServe: install it with `pip install 'wemoe_pl[serve]'`."
        )
    from wemoe_pl.export.serving.request import RequestLimits
    from wemoe_pl.export.serving.server import ServerOptions, run_server

    with faults_explained():
        limits = RequestLimits(options.max_bytes, options.max_pixels)
        chosen = ServerOptions(
            host=options.host,
            port=options.port,
            batch_size=options.batch_size,
            batch_wait=options.batch_wait,
            device=options.device,
            limits=limits,
            specialised=options.specialise,
        )
        run_server(options.run, chosen, say, options.allow)
