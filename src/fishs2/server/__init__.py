"""HTTP: one module per dialect. FastAPI lives only here."""
