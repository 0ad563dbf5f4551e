"""Sources of users and groups of a test's own, built from `name_source.c`."""

import ctypes
import subprocess
from pathlib import Path

_CODE = Path(__file__).with_name("name_source.c")


class NameSourceOfTests:
    """A library `libnss_NAME.so.2` that answers as a file of the test's says."""

    def __init__(self, folder, name="steadtest", *more):
        self.name = name
        self.folder = folder
        self.library = folder / f"libnss_{name}.so.2"
        self.state = folder / f"{name}.state"
        self.be("up")
        subprocess.run(
            [
                "cc", "-shared", "-fPIC", "-w", f"-DNAME={name}", *more,
                f'-DSTATE="{self.state}"', f"-Wl,-soname,{self.library.name}",
                "-o", str(self.library), str(_CODE),
            ],
            check=True,
        )  # fmt: skip
        # Whoever loads it by its name from now on gets this one.
        ctypes.CDLL(str(self.library))

    def be(self, state):
        self.state.write_text(state)

    def switch(self, groups=None, *, users=None, memberships=None):
        """Write an nsswitch.conf that names it, and return its path."""
        lines = [f"passwd: {users or f'files {self.name}'}"]
        lines.append(f"group: {groups or f'files {self.name}'}")
        if memberships:
            lines.append(f"initgroups: {memberships}")
        path = self.folder / "nsswitch.conf"
        path.write_text("\n".join(lines))
        return path
