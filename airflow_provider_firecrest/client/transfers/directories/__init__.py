"""A whole directory, each way: one archive, and a digest of the tree at both ends.

``start`` is where it begins; the scripts of its jobs stand in ``tree_jobs``.
"""
