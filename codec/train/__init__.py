# SPDX-License-Identifier: MIT
"""The training room: a corpus, what is minimised, and the loop.

command.py   `codec train`                              config.py, tasks/, task.py    recipes, and what can be trained
loop.py, run.py, watch.py, ranks.py, weights.py         steps, state, what is beside them, processes, where to start
folders.py, data.py, decoded.py, sampling.py            from files to batches
losses.py, precision.py, samples.py, tables.py          parts of a step, pictures, tables fitted to streams
"""
