# SPDX-License-Identifier: GPL-3.0-or-later
"""What others on the host may see: modes under every umask and over every directory that is there before, and secrets in what is printed and kept."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator

from case import REFUSED, USED, WRONG, Case, Outcome, Place, answered, refused, tiny

SECRET = "pass-Word-4711-hostile"


def opened_to(mode: int) -> str:
    return "" if not mode & 0o077 else oct(mode)


def with_umask(mask: int, before: int | None, inside: bool):
    """A migration under this umask, into directories that were there with another mode. No file is anybody's but the owner's."""

    def run(place: Place) -> Outcome:
        source, dummy = tiny(place)
        os.umask(mask)
        work, out = place.work / "state", place.work / "out"
        if before is not None:
            for path in (work, out) if inside else (place.work,):
                path.mkdir(exist_ok=True)
                path.chmod(before)
        for name, arguments in (
            ("vmdk_fetch", {"source": [str(source)]}),
            ("disk_flatten", {}),
            ("qemu_convert", {"name": "vm", "dest": str(out)}),
        ):
            answer = answered(name, work_dir=str(work), **arguments)
            if answer.get("failed"):
                return refused(answer["msg"], answer.get("hint", ""))
        wrong = []
        for path in [*work.rglob("*"), *out.rglob("*")]:
            mode = stat.S_IMODE(path.lstat().st_mode)
            if path.is_file() and not path.is_symlink() and opened_to(mode):
                wrong.append(f"{path.relative_to(place.work)} {oct(mode)}")
        return Outcome(WRONG, str(wrong)) if wrong else Outcome(USED, "only the owner's")

    return run


def kept_secret(arguments: dict, name: str = "qemu_convert"):
    """A call with a secret that fails or works; it is in nothing that is printed or kept."""

    def run(place: Place) -> Outcome:
        source, dummy = tiny(place)
        work = str(place.work / "state")
        for step, more in (("vmdk_fetch", {"source": [str(source)]}), ("disk_flatten", {})):
            answered(step, work_dir=work, **more)
        given = {"work_dir": work, **({"name": "vm", "dest": str(place.work / "out")} if name == "qemu_convert" else {}), **arguments}
        answer = answered(name, **given)
        seen = [str(path) for path in place.work.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
        if SECRET in json.dumps(answer) or seen:
            return Outcome(WRONG, f"it is in {seen or 'the answer'}")
        return refused(answer["msg"], answer.get("hint", "")) if answer.get("failed") else Outcome(USED, "kept")

    return run


def in_a_url(url: str):
    def run(place: Place) -> Outcome:
        answer = answered("vmdk_fetch", source=[url], work_dir=str(place.work / "state"))
        if SECRET in json.dumps(answer):
            return Outcome(WRONG, f"the answer has it: {answer}")
        return refused(answer["msg"], answer.get("hint", "")) if answer.get("failed") else Outcome(USED)

    return run


def cases() -> Iterator[Case]:
    for mask in (0o000, 0o002, 0o022, 0o027, 0o077, 0o777):
        yield Case(f"umask {mask:03o}", "modes", with_umask(mask, None, False), seconds=120)
        yield Case(f"umask {mask:03o} in open directories", "modes of what was there", with_umask(mask, 0o777, True), seconds=120)
    for before in (0o755, 0o770, 0o1777, 0o2775, 0o711):
        yield Case(f"below a directory of {before:o}", "modes of what was there", with_umask(0o022, before, False), seconds=120)
    refusals = {"a compression": {"compression": "zstd"}, "a format": {"format": "raw"}, "a device": {"devices": ["/dev/null"]}, "a size": {"resize": ["x"]},
                "a full name": {"name": "x" * 300}, "a result": {}}  # fmt: skip
    for name, more in refusals.items():
        yield Case(f"a passphrase and {name}", "a passphrase", kept_secret({"passphrase": SECRET, **more}), seconds=900)
    yield Case(
        "a key of a disk",
        "a passphrase",
        kept_secret({"luks_keys": {"all": SECRET}, "source": ["/nowhere.raw"]}, "guest_plan"),
        expect=(REFUSED,),
    )
    urls = {
        "ssh": f"ssh://root:{SECRET}@127.0.0.1:1/vmfs/volumes/ds/a/a.vmx", "vsphere": f"vsphere://u:{SECRET}@127.0.0.1:1/DC/vm/a",
        "a scheme that is none": f"sftp://root:{SECRET}@127.0.0.1/a.vmx", "a port that is none": f"ssh://root:{SECRET}@127.0.0.1:port/a.vmx",
        "a query": f"vsphere://127.0.0.1:1/DC/vm/a?password={SECRET}", "aws": f"aws://{SECRET}@eu/web01", "azure": f"azure://x:{SECRET}@y/z/v",
    }  # fmt: skip
    for name, url in urls.items():
        yield Case(f"a password in a URL: {name}", "a password in a URL", in_a_url(url), seconds=120, expect=(REFUSED,))
