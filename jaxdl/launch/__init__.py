"""Scripts that run as several processes: ``python -m jaxdl.launch --processes 4 script.py``."""
