# SPDX-License-Identifier: GPL-2.0-only
"""A program of its own, under GPL-2.0-only because it imports scapy: reads frames, says facts as JSON lines.

It imports nothing of provisioner beyond this folder and nothing under Apache-2.0.
What it says goes to provisioner through a pipe.
"""
