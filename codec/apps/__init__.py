# SPDX-License-Identifier: MIT
"""What frame synthesis does beside coding: slow motion, motion blur, jitter removal, pictures of motion."""
