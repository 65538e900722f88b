"""Make the parsers of the commands with options of their own, which read no job's config."""

from typing import Any

from wemoe_pl.bench.names import BENCH_MEASURES, BENCH_NOTE, BENCH_SHAPES, SERVE
from wemoe_pl.cli.options import ALLOW_HELP, CONFIG, FRESH, OneSentence, command_parser
from wemoe_pl.export.names import EXPORT_FORMATS
from wemoe_pl.moe.precision import PRECISIONS
from wemoe_pl.reporting.families import FAMILIES
from wemoe_pl.reporting.table import LAYOUTS
from wemoe_pl.system.configs import ALLOW
from wemoe_pl.system.files import expanded

SHELLS = ("bash", "zsh", "fish")
# The arguments of `add_argument` for an option that can be repeated.
REPEATED: dict[str, Any] = {"action": "append", "default": []}


def sweep_parser() -> OneSentence:
    """Make the parser of `wemoe-pl sweep`; options that it does not know belong to the jobs."""
    parser = command_parser(
        "sweep",
        "Run a job for every point of a grid, one after another or several at once. Every point is "
        "a separate command, `wemoe-pl fit --config … --KEY=VALUE …`, so that agents of a Weights "
        "& Biases sweep can call the same command with the same keys.",
    )
    add = parser.add_argument
    add(*CONFIG, **REPEATED, help="The config of the job, as for fit; can be repeated.")
    add("--grid", **REPEATED, metavar="KEY=A,B,C", help="Values to try; KEY may be `config`.")
    add(
        "--out",
        type=expanded,
        default="runs/sweep",
        help="A folder, which gets a subfolder for each point.",
    )
    chosen = (
        "The command to run; auto means test for a static merge, which has nothing to fit, and fit "
        "otherwise."
    )
    add("--command", choices=("auto", "fit", "test"), default="auto", help=chosen)
    add(FRESH, action="store_true", help="Run all points anew.")
    add("--jobs", type=int, default=None, help="How many jobs run at once.")
    add("--gpus", help="The GPUs to use, such as 0,1: each runs one job at a time.")
    by = (
        "Choose the setting with the largest value of this score, which needs no labels, and write "
        "it to chosen.json."
    )
    add("--select", choices=("information", "agreement"), help=by)
    add("--choose", action="store_true", help="The same as --select information.")
    add("--dry-run", action="store_true", help="Read the configs, and only print the commands.")
    return parser


def report_parser() -> OneSentence:
    """Make the parser of `wemoe-pl report`."""
    parser = command_parser(
        "report", "Write one document of many runs: Markdown, CSV, LaTeX, or a page of HTML."
    )
    add = parser.add_argument
    add("folders", nargs="+", type=expanded, metavar="DIR", help="Runs, or folders of runs.")
    add("--format", choices=tuple(LAYOUTS), default="markdown", help="The form of the document.")
    add("--out", type=expanded, metavar="FILE", help="The file to write; by default, print it.")
    page = "Write a page with a section for every run; not together with --format or --out."
    add("--html", type=expanded, metavar="FILE", help=page)
    add(
        "--mean-over-seeds",
        action="store_true",
        help="Combine runs that differ only in their seed into one row.",
    )
    add(
        "--references",
        action="store_true",
        help="Add the rows of the reference models, which the table of a single run has anyway.",
    )
    published = "Add the published rows of the same experiment and family of checkpoints."
    add("--published", action="store_true", help=published)
    family = "The family of the experts (docs/methods.md), if their sources do not tell it."
    add("--family", choices=tuple(FAMILIES), help=family)
    add("--sort", choices=("mean",), help="Sort the rows by their mean.")
    return parser


def export_parser() -> OneSentence:
    """Make the parser of `wemoe-pl export`."""
    parser = command_parser(
        "export",
        "Write a merged model for others to use, read it back, and compare. An adapter holds only "
        "what was learned, and is loaded together with the same pretrained model and experts; all "
        "other formats hold everything.",
    )
    add = parser.add_argument
    source = "A run, a checkpoint of one, or an adapter, here or on the hub."
    add("source", type=expanded, metavar="DIR", help=source)
    add("--format", choices=EXPORT_FORMATS, default="adapter", help="The form of the export.")
    add("--out", type=expanded, metavar="DIR", help="A folder; by default runs/export-FORMAT.")
    add("--precision", choices=PRECISIONS, help="The precision of a bundle; by default unchanged.")
    forms = (
        "dense, int8, pruned=SHARE (of the entries to drop), or low-rank=RANK; by default unchanged"
    )
    add("--dictionary", metavar="FORM", help=f"The form of a bundle's task vectors: {forms}.")
    plain = "The only task: a plain classifier of timm, with the head of this task."
    add("--task", help=plain)
    compiles = "The device that the code of aoti is for; by default cpu."
    add("--device", choices=("cpu", "cuda"), help=compiles)
    add(ALLOW, **REPEATED, metavar="PACKAGE", help=ALLOW_HELP)
    add("--push", metavar="USER/NAME", help="Upload the export to the hub, with a model card.")
    return parser


def predict_parser() -> OneSentence:
    """Make the parser of `wemoe-pl predict RUN IMAGES`; `predict --config` has a job's parser."""
    parser = command_parser(
        "predict",
        "Classify images by the model of a run: print a row of CSV for each, or keep the answers "
        "with --out. `wemoe-pl predict --help` is about the job that does the same.",
    )
    add = parser.add_argument
    add("run", type=expanded, metavar="RUN", help="A run, a checkpoint of one, or an export.")
    images = "Images, folders, patterns or parquet files; with --out tar shards too."
    add("images", nargs="+", metavar="IMAGES", help=images)
    add("--task", help="The task of all images; by default it is inferred for each image.")
    many = "A folder for the answers as parquet, by any number of processes; by default, print CSV."
    add("--out", type=expanded, metavar="FOLDER", help=many)
    workers = "With --out: the processes that load images; by default, as many as there are cores."
    add("--workers", type=int, metavar="N", help=workers)
    at_once = "With --out: how many images are answered at once (default: 64)."
    add("--batch-size", type=int, metavar="B", help=at_once)
    device = "With --out: cpu, cuda or cuda:N; by default a GPU if there is one."
    add("--device", help=device)
    add(FRESH, action="store_true", help="With --out: remove what was answered before.")
    add(ALLOW, **REPEATED, metavar="PACKAGE", help=ALLOW_HELP)
    return parser


def serve_parser() -> OneSentence:
    """Make the parser of `wemoe-pl serve`."""
    parser = command_parser(
        "serve",
        "Answer requests over HTTP: images of any of the model's tasks, in batches of one forward "
        "pass. The server has no passwords and no encryption, and listens only to this machine "
        "unless told otherwise. docs/serve.md says how it is asked.",
    )
    add = parser.add_argument
    add("run", type=expanded, metavar="RUN", help="A run, a checkpoint of one, or an export.")
    add("--host", default="127.0.0.1", help="The address to listen on; by default 127.0.0.1.")
    add("--port", type=int, default=8000, help="The port, by default 8000; 0 for any free one.")
    add("--batch-size", type=int, default=32, help="The most requests that share a forward pass.")
    wait = "How long the first request of a batch waits for others; by default 5 ms."
    add("--batch-wait", type=float, default=5.0, metavar="MS", help=wait)
    add("--device", default="auto", help="The device: cpu, cuda, cuda:1; by default a GPU if any.")
    plain = (
        "Answer images whose task is named by a plain model of the task, with its mean routing: "
        "those of the N tasks that were asked for last are kept. By default, route every image."
    )
    add("--specialise", type=int, default=0, metavar="N", help=plain)
    size = "The largest body of a request; by default 20 million bytes."
    add("--max-bytes", type=int, default=20_000_000, metavar="N", help=size)
    pixels = "The largest image that is decoded; by default 50 million pixels."
    add("--max-pixels", type=int, default=50_000_000, metavar="N", help=pixels)
    add(ALLOW, **REPEATED, metavar="PACKAGE", help=ALLOW_HELP)
    return parser


def workspace_parser() -> OneSentence:
    """Make the parser of `wemoe-pl workspace`."""
    parser = command_parser(
        "workspace",
        "Make a workspace on the server of Weights & Biases: a view of a project whose panels show "
        "whether runs adapt, who is routed where, whether anything collapses, and what was run.",
    )
    add = parser.add_argument
    add("run", type=expanded, metavar="DIR", help="A finished run; its tasks get panels.")
    add("--project", help="The project; by default WANDB_PROJECT, or wemoe-pl.")
    add("--entity", help="The user or team; by default WANDB_ENTITY, or that of the API key.")
    return parser


def bench_parser() -> OneSentence:
    """Make the parser of `wemoe-pl bench`."""
    parser = command_parser("bench", f"Measure time and memory. {BENCH_NOTE}")
    add = parser.add_argument
    measures, shapes = ", ".join(BENCH_MEASURES), ", ".join(BENCH_SHAPES)
    default = f"all but {SERVE} or, with --run, {SERVE} alone"
    add("measures", nargs="*", help=f"What to measure: {measures}; by default {default}.")
    add("--shapes", default="vitb32", help=f"The models, with commas between: {shapes}.")
    add("--samples", default="16", help="Samples in a batch; for an encoder, those of each task.")
    add("--experts", default="8", help="Numbers of experts, with commas between.")
    add("--depths", default="2", help="Depths of the routers, 0 to 2, with commas between.")
    add(
        "--blocks",
        type=int,
        help="The number of blocks of an encoder to keep at most; by default all.",
    )
    add(
        "--repeats",
        type=int,
        default=5,
        help="How often to measure each time; the median is reported.",
    )
    add("--run", type=expanded, metavar="DIR", help=f"The run whose model {SERVE} measures.")
    scored = f"The test images of each task on which {SERVE} measures accuracy, at most."
    add("--images", type=int, default=200, metavar="N", help=scored)
    add("--device", default="cpu", help="The device to measure on: cpu or cuda.")
    add("--precision", default="float32", help=f"The precision: {', '.join(PRECISIONS)}.")
    add("--threads", type=int, help="The number of CPU threads; by default torch's choice.")
    add("--seed", type=int, default=0, help="The seed of the random weights.")
    add("--out", type=expanded, default="runs/bench", help="The folder of bench.json.")
    return parser


def advise_parser() -> OneSentence:
    """Make the parser of `wemoe-pl advise`."""
    parser = command_parser(
        "advise",
        "Say what speaks for and against merging the experts of a suite, before anything is "
        "merged: from their weights alone or, with --images, also from how sure each expert is of "
        "its answers. No label is read. docs/advice.md explains each figure.",
    )
    add = parser.add_argument
    suite = "Models and tasks: a YAML file, or the bare name of a shipped one."
    add("--suite", required=True, help=suite)
    images = "Unlabelled images of every task that its expert is shown; by default none."
    add("--images", type=int, default=0, metavar="N", help=images)
    files = "The folder of advice.json and advice.png."
    add("--out", type=expanded, default="runs/advice", metavar="DIR", help=files)
    add(ALLOW, **REPEATED, metavar="PACKAGE", help=ALLOW_HELP)
    return parser


def completion_parser() -> OneSentence:
    """Make the parser of `wemoe-pl completion`."""
    parser = command_parser(
        "completion",
        "Print a script that makes a shell complete commands, their options, and the names of "
        "shipped files. Load it with `source <(wemoe-pl completion bash)`, the same for zsh, or "
        "`wemoe-pl completion fish | source`.",
    )
    parser.add_argument("shell", metavar="SHELL", help=f"One of {', '.join(SHELLS)}.")
    return parser


VERB_PARSERS = {
    "advise": advise_parser,
    "bench": bench_parser,
    "completion": completion_parser,
    "export": export_parser,
    "report": report_parser,
    "serve": serve_parser,
    "sweep": sweep_parser,
    "workspace": workspace_parser,
}
