# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation shared by the modules."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and report what it would do without changing anything.
    support: full
  diff_mode:
    description: Returns details of what has changed, or would change, in C(--diff).
    support: full
  idempotent:
    description: A second run with the same parameters on an unchanged source changes nothing.
    support: full
"""

    NO_DIFF = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and report what it would do without changing anything.
    support: full
  diff_mode:
    description: Returns details of what has changed, or would change, in C(--diff).
    support: N/A
    details: There is no text to compare.
  idempotent:
    description: A second run with the same parameters on an unchanged source changes nothing.
    support: full
"""

    ACTION = r"""
options:  # written by make options
  progress_file:
    description: Where the module writes how far it is, as JSON. Set by the action plugin, which shows it.
    type: path
  probe:
    description: Only report the result of an earlier run that still holds, else RV(ignore:pending=true). Set by the action plugin.
    type: bool
    default: false
  watch_pid:
    description: End when this process ends. Of earlier action plugins; see O(watched).
    type: int
  watched:
    description:
      - End when one of these processes ends, each with its number and its start. Set by the action plugin, so that a killed run leaves nothing running on
        the controller.
    type: list
    elements: str
    version_added: 0.2.0
  run:
    description: Which process runs the migration, for which host of its inventory. Set by the action plugin, so that two runs do not work on one VM.
    type: dict
    version_added: 0.2.0
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
"""

    MODE = r"""
options:  # written by make options
  mode:
    description:
      - The mode of the files that are written, in octal digits and in quotes, such as V("0640"). Directories that are made get it too, with the right to
        pass wherever it has the right to read; those that hold disks can be passed by everybody. Directories that are there keep theirs.
      - By default files are V("0600"), and nobody but their owner lists the directories.
      - Work directories, plans and manifests are always their owner's alone.
    type: raw
    version_added: 0.2.0
"""

    RUN = r"""
options:  # written by make options
  run:
    description: Which process runs the migration, for which host of its inventory. Set by the action plugin, so that two runs do not work on one VM.
    type: dict
    version_added: 0.2.0
attributes:
  action:
    description: Indicates this has a corresponding action plugin so some parts of the options can be executed on the controller.
    support: full
"""
