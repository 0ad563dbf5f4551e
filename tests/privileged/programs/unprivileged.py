"""The probe, asked by an ordinary user."""

import json
import os

from stead.privileged.probe import probe

root = os.geteuid() == 0
if root:
    os.setgroups([])
    os.setresgid(70001, 70001, 0)
    os.setresuid(70001, 70001, 0)
reasons = probe().reasons
if root:
    os.setresuid(0, 0, 0)  # what measures coverage writes as root again
print(json.dumps(reasons))
