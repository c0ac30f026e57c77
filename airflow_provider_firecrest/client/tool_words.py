"""What the system's own tools say when they fail, in both generations' answers. Pure patterns."""

from __future__ import annotations

import re

SHAKY_FILE_SYSTEM = re.compile(
    r"Input/output error|Stale (NFS )?file handle|transport endpoint|Interrupted system call",
    re.IGNORECASE,
)
"""A file system that is away for a while; of a wrong request the tools speak otherwise."""

TOOL = re.compile(
    r"^(/\S+/)?(base64|cat|chgrp|chmod|chown|cp|dd|file|head|ln|ls|mkdir|mv|rm|sha256sum|stat|tail|tar"
    r"|unzip): "
)
"""The beginning of a tool's complaint: whoever answers so was reached."""
