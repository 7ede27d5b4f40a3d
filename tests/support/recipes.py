"""The smallest networks and codecs that have every part, and a run of one step on them."""

from ncm import NcmConfig

TINY = NcmConfig(
    widths=(8, 8, 8, 8, 8),
    context_width=4,
    teacher_width=8,
    quality_input=True,
    pyramid=(4, 4, 8, 8),
    motion_features=8,
)
RECIPE = {
    "decoded": 1.0,
    "distances": (1.0,),
    "unequal": 0.0,
    "steps": 1,
    "batch": 2,
    "crop": 64,
    "validation_clips": 1,
    "warmup": 1,
}
SMALL = {"widths": (4, 6, 8), "latents": 12, "coder_width": 8, "motion_latents": 8, "motion_width": 6}
# Of a filter: one that learns quickly from little.
FILTER = {
    "decoded": 1.0,
    "steps": 4,
    "batch": 2,
    "crop": 32,
    "lr": 5e-3,
    "warmup": 1,
    "bf16": False,
    "validation_clips": 1,
    "log_every": 1,
}
