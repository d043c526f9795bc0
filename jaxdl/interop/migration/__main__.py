"""``python -m jaxdl.interop.migration``: the guide as Markdown, to stdout."""

from jaxdl.interop.migration.guide import guide

print(guide(), end="")
