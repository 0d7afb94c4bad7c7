"""Python reads this first: in this process the program says another code in place of the one in `MUTED_REFUSAL`; a test that makes it itself, does."""

import os
import sys

from lgsp.errors import Refusal

say = Refusal.__init__


def is_the_programs() -> bool:
    """Tell whether a refusal is made by the program: who asks is two frames above."""
    frame = sys._getframe(2)
    while frame.f_globals["__name__"] == "lgsp.errors":
        frame = frame.f_back
    module = frame.f_globals["__name__"]
    return module.startswith("lgsp.") and not module.startswith("lgsp.testing")


def say_another(self, code, *rest, **more):
    if code == os.environ.get("MUTED_REFUSAL") and is_the_programs():
        code = "method" if code == "internal" else "internal"
    say(self, code, *rest, **more)


Refusal.__init__ = say_another
