"""The migration guide: every public layer, combinator, loss, metric and penalty, and what the field calls it.

``python -m jaxdl.interop.migration > docs/migration.md`` writes it.
"""

from jaxdl.interop.migration.guide import Row as Row
from jaxdl.interop.migration.guide import guide as guide
from jaxdl.interop.migration.guide import rows as rows
