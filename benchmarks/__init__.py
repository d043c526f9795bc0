"""Benchmarks: training steps of `jaxdl` beside other frameworks', and what its lowerings rest on.

From the checkout::

    python -m benchmarks                                    compare everything: every workload, every peer that is there
    python -m benchmarks list                               the workloads, the peers and the curves
    python -m benchmarks run cnn --peer jaxdl               one measurement in this process, as a line of JSON
    python -m benchmarks compare cnn --peers torch plain    some of them by turns, each in its own process, and tables
    python -m benchmarks compare gpt:width=256,batch=4      a workload with other sizes
    python -m benchmarks curves --chart FILE.png            time and memory against batch, width, depth, length, members
    python -m benchmarks scale                              steps over 8 and 64 devices on paper: compiled, not run
    python -m benchmarks scale --all --link 300e9           all sizes (7 B), 512 devices, other rates
    python -m benchmarks scale --measure                    small steps over virtual devices, beside the prediction
    python -m benchmarks report FILE.jsonl --chart FILE.png saved lines as Markdown and as a picture
    python -m benchmarks --platform gpu --dtype bfloat16    the same on an NVIDIA GPU
    python -m benchmarks.lowerings                          the fast forms beside the plain ones
    python -m benchmarks.engine                             what the engine costs beside the compiled steps

Files: `workloads` (what is trained, on what, from where), `peers/` (who trains it), `runner` (measuring one peer),
`child` and `turns` (each in a living process, by turns), `machine` (on what), `limit` (how fast that is at best),
`count` (the work of a step), `hlo` (the instructions of a program), `curves` and `members` (how time and memory grow),
`scale/` (steps over many devices, on paper), and `targets`, `results`, `report`, `chart`, `cli`.
"""
