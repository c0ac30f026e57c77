"""Names that files have, each with something in it that a call, a shell or a template may trip over."""

from __future__ import annotations

ODD_NAMES = [
    "sp ace.txt",
    "ünï-日本.txt",
    "quo'te.txt",
    'dq"uote.txt',
    "-dash.txt",
    "$(touch executed).txt",
    "`touch executed`.txt",
    "a&b.txt",
    "a<b>.txt",
    "semi;colon.txt",
    "back\\slash.txt",
    "new\nline.txt",
    "tab\tx.txt",
    "st*r.txt",
    "[br]{ace}.txt",
    "#h.txt",
    "p%25.txt",
    "%j-%x.txt",
    "a+b,c=d@e:f.txt",
    "${HOME}.txt",
    "pi|pe.txt",
    "(paren).txt",
    "excl!am?.txt",
    "~tilde",
    ".hidden",
    "trail ",
]
