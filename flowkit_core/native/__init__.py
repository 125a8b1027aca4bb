"""The sweep in C: sources, which both wings share, and their compilation."""
