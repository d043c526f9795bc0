"""What the engine costs beside the compiled steps, and what it saves.

``python -m benchmarks.engine [--only TABLE] [--rounds 3] [--cache FOLDER]`` prints Markdown tables: medians of rounds
in which the forms take turns, and ratios. Read the ratios; milliseconds depend on what else the machine does.

Files: `models` (what is trained), `training` (dispatch, shares, overlap, checkpoints), `guarding` (watching for what
is not finite), `starting` (compile time and imports, each in a process of its own), `kills` (kill -9 again and again,
and the same bits).
"""
