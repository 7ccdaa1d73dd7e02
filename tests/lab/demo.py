# SPDX-License-Identifier: GPL-3.0-or-later
"""`make demo`: build the faulty guest, migrate it with the playbook, boot it, say where the report is."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import harness

print("Building the guest (the first time takes a minute or two) ...", flush=True)
harness.guest("bios")
done = subprocess.run(harness.playbook_command("migrate", harness.ROOT / "examples" / "demo.ini"), cwd=harness.ROOT, check=False)
if done.returncode == 0:
    print(f"\nThe report: {harness.ROOT / 'build' / 'demo' / 'web01' / 'report.md'}")
sys.exit(done.returncode)
