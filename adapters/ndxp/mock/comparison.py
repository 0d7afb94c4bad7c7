"""How the national service compares: names without accents, birth dates at the coarser precision."""

import unicodedata

BARRED = str.maketrans("Đđ", "DD")


def folded(name: str) -> str:
    """Return the bare letters and digits of a name in upper case, without accents and spaces."""
    decomposed = unicodedata.normalize("NFD", name.translate(BARRED).upper())
    return "".join(filter(str.isalnum, decomposed))


def same_birth(recorded: str, stated: str) -> bool:
    """Compare two dates written `YYYY`, `YYYY-MM` or `YYYY-MM-DD` as far as both go."""
    length = min(len(recorded), len(stated))
    return recorded[:length] == stated[:length]
