"""Training steps over many devices, on paper: ``python -m benchmarks scale``.

Files: `cases` (what is compiled), `child` (in a process with as many devices), `program` (compiling it, and what it
says), `collectives` and `flow` (reading its HLO), `model` (what that takes on a device of given rates), `measure` and
`running` (small steps that really run, beside the model), `report`, `chart`, `command`.
"""
