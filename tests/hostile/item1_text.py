# SPDX-License-Identifier: GPL-3.0-or-later
"""Expressions in every text that a source has: names, systems, networks, files; none is carried out, and none ends in an error of templating."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from case import REFUSED, ROOT, USED, WRONG, Case, Outcome, Place

sys.path.insert(0, str(ROOT / "tests" / "versions"))
from expressions import EXPRESSIONS, Marked

FLAT = '# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "disk-flat.vmdk" 0\n'


def in_a_vmx(texts: Callable[[str], str], place: Place) -> Path:
    place.write("disk-flat.vmdk", bytes(1 << 20))
    place.write("disk.vmdk", FLAT)
    lines = ['scsi0.present = "TRUE"', 'scsi0:0.present = "TRUE"', 'scsi0:0.fileName = "disk.vmdk"', 'ethernet0.present = "TRUE"']
    for key in ("displayName", "guestOS", "annotation", "ethernet0.networkName", "ethernet0.virtualDev"):
        text = texts(key).replace("|", "|7C").replace('"', "|22").replace("\n", "|0A")
        lines.append(f'{key} = "{text}"')
    return place.write("vm.vmx", "\n".join(lines))


def in_an_ovf(texts: Callable[[str], str], place: Place) -> Path:
    from xml.sax.saxutils import escape, quoteattr

    place.write("disk-flat.vmdk", bytes(1 << 20))
    place.write("disk.vmdk", FLAT)
    return place.write(
        "vm.ovf",
        '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><References><File id="f" href="disk.vmdk"/></References><DiskSection>'
        f'<Disk diskId="d" fileRef="f" capacity="1"/></DiskSection><VirtualSystem id={quoteattr(texts("id"))}><Name>{escape(texts("name"))}</Name>'
        f"<OperatingSystemSection osType={quoteattr(texts('os'))}/><VirtualHardwareSection><Item><ResourceType>17</ResourceType>"
        f"<HostResource>ovf:/disk/d</HostResource></Item><Item><ResourceType>10</ResourceType><Connection>{escape(texts('network'))}</Connection>"
        f"<ResourceSubType>{escape(texts('card'))}</ResourceSubType></Item></VirtualHardwareSection></VirtualSystem></Envelope>",
    )


def in_a_file_name(texts: Callable[[str], str], place: Place) -> Path:
    return place.write(f"{texts('file').replace('/', '_')[:200]}.raw", bytes(1 << 20))


def played(expression: str, door: Callable[[Callable[[str], str], Place], Path], host: str = "web01"):
    """The playbook up to the overlays, with the expression wherever the source has a text."""

    def run(place: Place) -> Outcome:
        import harness

        marked = Marked(place.work / "marks")
        source = door(lambda field: marked.text(expression, field), place)
        variables = {"migrate_source": {"__ansible_unsafe": str(source)}, "migrate_output_dir": str(place.work / "out")}
        hosts = harness.inventory(place.work / "vms.json", **{host: variables})
        done = harness.playbook("migrate", hosts, "--tags", "fetch,flatten")
        if marked.carried_out():
            return Outcome(WRONG, f"carried out: {marked.carried_out()}")
        if done.returncode == 0:
            return Outcome(USED, "taken as it is")
        failed = [line for line in done.stdout.splitlines() if "FAILED" in line or line.startswith("fatal")]
        templating = [
            word
            for word in ("template error", "Syntax error in", "is undefined", "AnsibleUndefinedVariable", "TemplateSyntaxError")
            if word in done.stdout
        ]
        return Outcome(WRONG, f"{templating}: {failed}") if templating else Outcome(REFUSED, " ".join(failed)[:300])

    return run


def cases() -> Iterator[Case]:
    for name in EXPRESSIONS:
        yield Case(f"vmx {name}", f"expression: {name}", played(name, in_a_vmx), seconds=300)
    for name in ("lookup", "set", "raw", "break-out", "open", "comment-open", "header", "globals", "mark-of-json", "quoted"):
        yield Case(f"ovf {name}", f"expression: {name}", played(name, in_an_ovf), seconds=300)
        yield Case(f"file {name}", f"expression: {name}", played(name, in_a_file_name), seconds=300)
