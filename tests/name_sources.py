"""Sources of users and groups of a test's own, built from C code beside this file."""

import ctypes
import subprocess
from pathlib import Path


class NameSourceOfTests:
    """A library `libnss_NAME.so.2` that answers as a file of the test's says."""

    def __init__(self, folder, name="steadtest", *more, code="name_source.c"):
        self.name = name
        self.folder = folder
        self.library = folder / f"libnss_{name}.so.2"
        self.state = folder / f"{name}.state"
        self.be("up")
        file = Path(__file__).with_name(code)
        subprocess.run(
            [
                "cc", "-shared", "-fPIC", "-w", f"-DNAME={name}", *more,
                f'-DSTATE="{self.state}"', f'-DTABLE="{self.state}"',
                f"-Wl,-soname,{self.library.name}", "-o", str(self.library), str(file),
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


class TableOfNames(NameSourceOfTests):
    """A source that knows and does what a table of the test's says (`table_source.c`).

    Attributes:
        state: the file of the table.
    """

    def __init__(self, folder, name="steadtable"):
        super().__init__(folder, name, code="table_source.c")

    def knows(self, *lines):
        """Have it know this and no more; each line is one of the table's."""
        self.place(self.state, lines)

    def then(self, *lines):
        """Return the file of another table, which a line `T` puts in place."""
        path = self.folder / f"{self.name}.then"
        self.place(path, lines)
        return path

    @staticmethod
    def place(path, lines):
        made = path.with_suffix(".new")
        made.write_text("".join(f"{line}\n" for line in lines))
        made.rename(path)  # at once: it is read meanwhile
