"""FirecREST v1 on this machine, beside v2: same tokens, file tree, scheduler and object store.

Knows: v1's answers as they were recorded. Must not know: `client/`, or it could not judge it.
"""
