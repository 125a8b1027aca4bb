"""The demonstration that ``make demo`` runs; each module is one part and can be read alone."""
