"""A transfer that goes in steps: a directory of its own on the system, batch jobs of ours that work there,
and what lets a later process go on with it.

Knows nothing of what is moved (``directories``, ``atomic``); ``stepwise`` takes one on to its end.
"""
