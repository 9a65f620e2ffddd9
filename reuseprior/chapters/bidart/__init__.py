"""Works of Bidart's thesis."""
