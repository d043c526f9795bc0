"""Benchmarks: training steps of `jaxdl` beside other frameworks', and what its lowerings rest on.

From the checkout::

    python -m benchmarks list                               the workloads and the peers
    python -m benchmarks run cnn --peer jaxdl               one measurement in this process, as a line of JSON
    python -m benchmarks compare cnn --peers torch plain    rounds of them in processes of their own, and a table
    python -m benchmarks report FILE.jsonl                  saved lines as Markdown
    python -m benchmarks.lowerings                          the fast forms beside the plain ones

Files: `workloads` (what is trained, on what, from where), `peers/` (who trains it, one file each), `runner` (measuring
and interleaving), `machine` (on what), `hlo` (counting a program's instructions), `report` (tables), `cli`.
"""
