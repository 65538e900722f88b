"""The names of the commands and a line on each: what help lists, and what a typo is near to."""

from wemoe_pl.errors import did_you_mean

# With a trainer.
SUBCOMMANDS = {
    "fit": "Adapt or train, then score all test tasks.",
    "validate": "Score all test tasks, without writing results.",
    "test": "Score all test tasks of a static merge, or of a checkpoint given by --ckpt_path.",
    "predict": "Classify the images of --data.images, as CSV or parquet; run again, it goes on.",
}
# Without one.
VERBS = {
    "check": "Tell what a job would read, write and take, and all that is wrong with it.",
    "prepare": "Fetch and verify all that a fit needs of the hub.",
    "heads": "Build the suite's zero-shot heads into --out, a file each.",
    "sweep": "Run a job for every point of a grid, resume it, and end in one table.",
    "report": "One table of many runs, with the published ones beside them on request.",
    "export": "Write a merged model for others to use, here or on the hub, and check it.",
    "similarity": "Cosines and distances of the experts' task vectors, layer by layer.",
    "landscape": "Loss over the plane of two task vectors: choose them with --tasks [a,b].",
    "parameters": "Sizes of upscaled models, by number of tasks.",
    "bench": "Time and memory beside the plain model and the loop over samples.",
}
# Without torch either.
COMMANDS = SUBCOMMANDS | VERBS | {"completion": "Print what makes a shell complete commands."}


def wrong_command(name: str = "") -> str:
    """One sentence for a command that does not exist, or that was not given.

    >>> wrong_command("fti")[:52]
    "There is no command 'fti'. Did you mean 'fit'? Valid"
    """
    if not name:
        return f"Give a command: {', '.join(COMMANDS)}."
    return f"There is no command '{name}'. {did_you_mean(name, COMMANDS)}"
