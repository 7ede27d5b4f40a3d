# SPDX-License-Identifier: MIT
"""Who does the work: this process, worker processes, or machines of a cluster."""
