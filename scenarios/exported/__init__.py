"""Programs that an export is given along with its weights: they need nothing of this project."""
