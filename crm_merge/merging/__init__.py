"""One merge in its directory: claimed, built, checked, published, compared.

Knows no other merge."""
