# SPDX-License-Identifier: GPL-3.0-or-later
"""Stand-in for the vendor's get-pip: pip comes from ensurepip, then from the package index as this machine is set up for it."""

from __future__ import annotations

import ensurepip
import os
import runpy
import sys

arguments = [argument for argument in sys.argv[1:] if argument not in ("--no-setuptools", "--no-wheel")]
environment = dict(os.environ)
ensurepip.bootstrap(default_pip=True)  # drops every PIP_* variable
os.environ.clear()
os.environ.update(environment)
if any(not argument.startswith("-") for argument in arguments):
    sys.argv = ["pip", "install", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)
