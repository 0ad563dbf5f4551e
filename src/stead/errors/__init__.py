"""Every error Stead raises, each with its Win32 status and the objects involved.

``str(error)`` is for whoever called. What a *client* on the far side of a gate may
be told is ``error.public``: one fixed sentence per status, never an argument. What
the *operator* should do is ``error.advice``. A gate sends ``public`` and nothing else,
so that no refusal carries the reason to the one who is refused.

    from stead.errors import AccessDeniedError, SteadError

Whoever catches imports from here. Each file holds one kind and says in its first line
which; its ``__all__`` is the one list of its names.

Status numbers are the Win32 codes of [MS-ERREF] 2.2.
"""

from stead.errors.logons import *
from stead.errors.lookups import *
from stead.errors.machine import *
from stead.errors.misuse import *
from stead.errors.peers import *
from stead.errors.processes import *
from stead.errors.records import *
from stead.errors.refusals import *
from stead.errors.stead_error import *
from stead.errors.values import *
