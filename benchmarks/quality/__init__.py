"""How close guides come to posteriors whose answers are known; `make quality` writes QUALITY.md."""
