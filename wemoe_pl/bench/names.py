"""List the names that `wemoe-pl bench` takes, without importing torch."""

BENCH_MEASURES = ("layer", "forms", "ways", "limits", "memory", "encoder", "build", "plan")
# The names of the models whose sizes are used.
BENCH_SHAPES = ("vitb32", "vitb16", "vitl14", "miniature")
BENCH_NOTE = (
    "Weights and images are random, so this measures times and sizes, not accuracy. Ratios are "
    "relative to the plain model."
)
