"""jaxdl's own forms beside the plain ones: what the rules in ``jaxdl/functional/`` rest on.

``python -m benchmarks.lowerings [--only TABLE] [--match WORDS] [--seconds 0.4]`` prints milliseconds of a round of a
``fori_loop``, since training runs in one, and there lax's convolutions are slower than by themselves (the table
`conv_by_itself` has those, in no loop). A gradient's columns hold the forward pass as well.

Files: `rounds` (timing and rows); one file a family of forms, with its ``TABLES``.
"""
