"""Which records of a distiller are logits, and which losses take them."""
