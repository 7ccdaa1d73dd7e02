# SPDX-License-Identifier: GPL-3.0-or-later
"""The first start of Windows in wine's cmd.exe: programs that fail, hang, come late or are missing, and power cuts at every line."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]
import signlab
import wine
import winlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, FirstStart
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import firstboot, hives, roots, startscript
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.startscript import Step
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.temporary import NOT_SET
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.wanted import Customization
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import DIRECT, TWO_PHASE, Options

CONTROL = "SYSTEM\\CurrentControlSet"
SERVICE, CRASH, DISKS = (
    f"{CONTROL}\\Services\\{startscript.SERVICE}",
    f"{CONTROL}\\Control\\CrashControl",
    f"{CONTROL}\\Services\\partmgr\\Parameters",
)
ENUMERATED = f"{CONTROL}\\Services\\disk\\Enum"
# What is done to a card is looked at once; elsewhere one command stands for it.
NETWORK = Step(
    startscript.NETWORK, ['netsh interface ipv4 set address name="LAN" source=static >>"%LOG%" 2>&1', "if errorlevel 1 set WORST=1"]
)
PARTS = 12
pytestmark = pytest.mark.again(3)  # wine now and then does not start a program
STEPS = tuple(step for step in startscript.STEPS if step != startscript.ACCOUNT)  # unless a password is given


@pytest.fixture(scope="session")
def drivers(tmp_path_factory):
    root = tmp_path_factory.mktemp("first-start")
    (root / "qemu-ga.msi").write_bytes(b"package")
    winlab.driver_tree(root / "drivers", dict.fromkeys(winlab.RELEASES, ("x86_64", "i686")))
    return root


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    made = wine.Machine(tmp_path_factory.mktemp("wine") / "prefix")
    yield made
    made.close()


class Windows:
    """A repaired guest of one release, started again and again in wine."""

    def __init__(
        self,
        machine: wine.Machine,
        drivers: Path,
        monkeypatch: pytest.MonkeyPatch,
        name: str = "2k22",
        boot: str = DIRECT,
        before: int | None = 3,
        hanging: tuple[str, ...] = (),
        patient: bool = False,
        cards: bool = False,
        more: Mapping[str, bytes] | None = None,
        password: str = "",
    ) -> None:
        key = winlab.CS + "\\Services\\partmgr\\Parameters"
        release = replace(winlab.RELEASES[name], extra={key: {"SanPolicy": before}} if before is not None else {})
        self.machine, self.release, self.before = machine, release, before
        made = winlab.guest(release, more or {})
        made.names["/dev/sdb1"] = BlockDevice("/dev/sdb1", "ntfs", "AA", disk=1, part=1)
        options = Options(
            str(drivers / "drivers"), drivers=("netkvm", "balloon"), boot=boot, customize=Customization(admin_password=password)
        )
        steps = firstboot._steps
        if not cards:
            monkeypatch.setattr(firstboot, "_steps", lambda *words: [NETWORK if one.name == NETWORK.name else one for one in steps(*words)])
        for name_, value in {"BUSY_LOOKS": 4, "MAX_STARTS": 5 if patient else 3, "MAX_TRIES": 2}.items():
            monkeypatch.setattr(startscript, name_, value)
        # Looks are shorter here than two seconds, and what does not hang is given the time that it has on a machine with much to do.
        for step in startscript.LOOKS:
            monkeypatch.setitem(startscript.LOOKS, step, 10 if step in hanging else 1200)
        self.facts = winlab.inspected(made, release, options)
        self.plan = winlab.planned(made, self.facts, options, installers=(str(drivers / "qemu-ga.msi"),))
        self.home = machine.root / "hyper2kvm"
        shutil.rmtree(self.home, ignore_errors=True)
        self.home.mkdir()
        self.texts = {change.path.rpartition("/")[2]: change.after for change in self.plan.changes if change.path.endswith(".cmd")}
        self.write({})
        policy = {"SanPolicy": 1, "SanPolicyBefore": before if before is not None else NOT_SET}
        machine.registry.load(
            {
                "SYSTEM\\Setup": {"SetupType": 2, "SystemSetupInProgress": 1, "CmdLine": "hyper2kvm"},
                SERVICE: {"Start": 3},
                CRASH: {"AutoReboot": 0, "AutoRebootBefore": NOT_SET},
                DISKS: policy if release.nt >= (6, 0) else {"SanPolicy": before, "SanPolicyBefore": None},
                ENUMERATED: {"0": "SCSI\\Disk&Ven_Red_Hat&Prod_VirtIO\\4"},
            }
        )
        machine.calls.clear()
        machine.standing(*wine.STAND_INS)
        machine.answer = lambda name, words: 0
        self.cut = threading.Event()

    def write(self, cuts: Mapping[str, int]) -> None:
        """The scripts; with a power cut before a line of one."""
        for name, text in self.texts.items():
            lines = text.splitlines()
            if name in cuts:
                lines.insert(cuts[name], "waitfor power-cut")
            (self.home / name).write_bytes("".join(f"{line}\r\n" for line in lines).encode("ascii"))

    def says(self, **answers: object) -> None:
        """What the programs answer: a code, a list of codes of which the last stays, or a function of their words. None hangs."""

        def answer(name: str, words: str):
            if "power-cut" in words:
                self.cut.set()
                return None
            told = answers.get(name, 0)
            if isinstance(told, list):
                return told.pop(0) if len(told) > 1 else told[0]
            return told(words) if callable(told) else told

        self.machine.answer = answer

    def start(self) -> None:
        """What Windows does: the Setup command where Setup is armed, the service where it starts by itself. Ends with the power off."""
        setup, service = self.machine.registry.values("SYSTEM\\Setup"), self.machine.registry.values(SERVICE)
        before, ended, quiet = len(self.log()), time.monotonic() + 240, 0
        self.cut.clear()
        if service["Start"] == 2:
            self.machine.start("cmd", "/c", "start", "", "/b", "cmd.exe", "/c", "C:\\windows\\hyper2kvm\\work.cmd")
        if setup["SetupType"] == 2:
            self.machine.start("cmd", "/c", "C:\\windows\\hyper2kvm\\firstboot.cmd")
        while not self.cut.is_set() and quiet < 8:  # a program that another starts is not to be seen at once
            if self.over(self.log()[before:]):
                break  # what hangs is still there
            assert time.monotonic() < ended, self.log()
            quiet = 0 if any(self.machine.programs()) else quiet + 1
            time.sleep(0.03)
        self.machine.cut()

    @staticmethod
    def over(log: list[str]) -> bool:
        """Whether the machine has said its last word and, where it is done, disarmed itself."""
        return bool(log) and (log[-1].endswith("goes on at the next start") or any(" end: " in line for line in log[:-1]))

    def starts(self, count: int = 8) -> int:
        """Starts until nothing is armed; how many there were."""
        for number in range(1, count + 1):
            self.start()
            if self.machine.registry.values(SERVICE)["Start"] == 4:
                return number
        raise AssertionError(self.log())

    def log(self) -> list[str]:
        path = self.home / startscript.LOG
        return path.read_text(errors="replace").splitlines() if path.exists() else []

    def seen(self) -> FirstStart:
        """What the module reads of it."""
        files = {
            f"/c/Windows/hyper2kvm/{path.relative_to(self.home)}": path.read_bytes() for path in self.home.rglob("*") if path.is_file()
        }
        files["/c/Windows/System32/config/SYSTEM"] = winlab.hive(winlab.system(self.release))
        guest = MemoryGuest(files)
        facts = replace(self.facts.windows, system_root="/c/Windows", system_hive="/c/Windows/System32/config/SYSTEM")
        return firstboot.read(guest, facts, hives.Draft.of(guest, facts.system_hive))

    def states(self) -> dict[str, str]:
        return {step.name: step.state for step in self.seen().steps}

    def check(self, result: str = "done", failed: tuple[str, ...] = ()) -> None:
        """How it has to end, whatever came in between."""
        seen, registry = self.seen(), self.machine.registry
        assert seen.state == result, self.log()
        assert {step.name for step in seen.steps if step.state != "done"} == set(failed), seen.steps
        assert {step.state for step in seen.steps if step.name in failed} <= {"failed"}
        assert registry.values(SERVICE)["Start"] == 4
        assert registry.values("SYSTEM\\Setup") == {"SetupType": 0, "SystemSetupInProgress": 0, "CmdLine": ""}, self.log()
        assert registry.values(CRASH) == {}, self.log()
        assert registry.values(DISKS) == ({"SanPolicy": self.before} if self.before is not None else {}), self.log()

    def called(self, name: str, word: str = "") -> int:
        return sum(one == name and word in words for one, words in self.machine.calls)


@pytest.fixture
def windows(machine, drivers, monkeypatch) -> Callable[..., Windows]:
    monkeypatch.setattr(roots, "ROOTS", (*roots.ROOTS, signlab.vendor_root()))
    return lambda *words, **more: Windows(machine, drivers, monkeypatch, *words, **more)


@pytest.mark.parametrize(
    "name", [name if name == "2k22" else pytest.param(name, marks=pytest.mark.rotates("starts", 5)) for name in winlab.RELEASES]
)
def test_every_release_is_done_after_one_start(name, windows):
    one = windows(name)
    assert one.starts() == 1
    one.check()
    assert one.called("msiexec", "/i") == one.called("msiexec", f"/x {winlab.TOOLS_CODE}") == 1
    assert one.called("pnputil") == (4 if name != "xp" else 0) and not one.called("shutdown")
    assert one.seen().tries == 1 and one.seen().ready


@pytest.mark.parametrize("lost", [False, True], ids=["set", "lost"])
@pytest.mark.parametrize("letters", [str.lower, str.upper])
def test_a_card_is_found_by_its_mac_and_its_address_is_looked_for_afterwards(letters, lost, windows):
    """Microsoft, "route": the interface list has the index, three dots and the MAC in pairs. netsh answers 1 where the address was there before."""
    one = windows(cards=True)
    spaced = re.search(r'call :find "([0-9a-f ]{17})"', one.texts[startscript.WORK])[1]
    addresses = re.findall(r"address=([0-9.]+) mask=", one.texts[startscript.WORK])
    shown = "".join(f"    IP Address:                           {address}\n" for address in addresses[lost:])
    listed = f"  7...02 00 00 00 00 01 ......Another card\n 12...{letters(spaced)} ......Red Hat VirtIO Ethernet Adapter\n  1...........Loopback\n"

    def found(words: str) -> int:
        """findstr, which wine has not; its patterns are among those that Python reads alike."""
        patterns, path = re.findall(r'/c:"([^"]*)"', words), re.search(r'"[^"]*\\([^"\\]+)"$', words)[1]
        return 0 if any(re.search(pattern, (one.home / path).read_text(), re.MULTILINE | re.IGNORECASE) for pattern in patterns) else 1

    one.says(route=(0, listed), netsh=lambda words: (0, shown) if " show " in words else 1, findstr=found, getmac=(0, "\n"))
    assert one.starts() == (startscript.MAX_STARTS if lost else 1), one.log()
    one.check("failed" if lost else "done", ("network",) if lost else ())
    assert one.called("netsh", f'set address name="12" source=static address={addresses[0]} ') == (
        startscript.MAX_STARTS * startscript.MAX_TRIES if lost else 1
    )


@pytest.mark.parametrize("code", [0, 2245], ids=["set", "refused"])  # NERR_PasswordTooShort
def test_a_password_is_set_as_it_is_and_does_not_stay(code, windows):
    password = "it's ^good & <long>! (100)"
    config = f"/c/{winlab.RELEASES['2k22'].root}/System32/config"
    one = windows(password=password, more={f"{config}/SAM": winlab.sam({"Guest": 501, "Administrator": 500})})
    one.says(net=code)
    assert one.starts() == (1 if code == 0 else startscript.MAX_STARTS)
    one.check("done", () if code == 0 else (startscript.ACCOUNT,))
    said = next(words for name, words in one.machine.calls if name == "net")
    assert said.endswith(f'user "Administrator" "{password}" /active:yes /y')
    assert not (one.home / startscript.ACCOUNT_FILE).exists()
    assert not [path for path in one.home.rglob("*") if path.is_file() and b"^good" in path.read_bytes()]


def test_a_driver_that_fails_is_tried_again_in_the_same_start_and_the_others_are_not_installed_twice(windows):
    one = windows(before=None)
    one.says(pnputil=lambda words: 1 if "netkvm" in words and one.called("pnputil", "netkvm") < 2 else 0)
    assert one.starts() == 1
    one.check()
    assert one.called("pnputil", "netkvm") == 2 and one.called("pnputil", "viostor") == 1
    assert {step.name: step.tries for step in one.seen().steps}["drivers"] == 2


def test_a_driver_that_never_installs_is_given_up_and_everything_else_is_done(windows):
    one = windows()
    one.says(pnputil=lambda words: 1627 if "netkvm" in words else 0)
    one.start()
    assert one.states() == {
        **dict.fromkeys(STEPS, "done"),
        **dict.fromkeys(("disks", "settings", "cleanup"), "waiting"),
        **dict.fromkeys(("drivers", "tools"), "running"),  # what the disk may start from stays until its new drivers are there
    }
    assert not one.seen().ready
    assert one.starts() == startscript.MAX_STARTS - 1
    one.check("failed", ("drivers",))
    step = one.seen().steps[0]
    assert (step.code, step.tries) == (1627, startscript.MAX_STARTS * startscript.MAX_TRIES)


def test_programs_that_are_missing(windows):
    one = windows()
    one.machine.standing("ping", "netsh", "waitfor", "shutdown")
    assert one.starts() == startscript.MAX_STARTS
    one.check("failed", ("drivers", "extras", "agent", "tools"))
    assert one.seen().steps[0].code == 2


def test_an_optional_driver_that_hangs_holds_up_nothing(windows):
    one = windows(hanging=(startscript.EXTRAS,))
    one.says(pnputil=lambda words: None if "balloon" in words else 0)
    one.start()
    assert one.states() == {**dict.fromkeys(STEPS, "done"), "extras": "running", "cleanup": "waiting"} and one.seen().ready
    assert one.machine.registry.values(CRASH) == {} and one.machine.registry.values(DISKS) == {"SanPolicy": 3}
    assert one.starts() == startscript.MAX_STARTS - 1
    one.check("done", ("extras",))
    assert {step.name: step.meaning for step in one.seen().steps}["extras"] == "it had not ended in time"


def test_a_critical_driver_that_hangs_at_the_first_start_only(windows):
    one = windows(hanging=(startscript.DRIVERS,))
    one.says(pnputil=lambda words: None if "netkvm" in words and one.called("pnputil", "netkvm") == 1 else 0)
    assert one.starts() == 2
    one.check()


def test_a_network_that_comes_late(windows):
    one = windows()
    one.says(netsh=[1, 1, 1, 0], ping=[1, 1, 1, 0])
    assert one.starts() == 2
    one.check()
    assert one.called("waitfor", "/t 2") == 3 and one.called("pnputil", "netkvm") == 1


@pytest.mark.parametrize(
    ("codes", "starts", "calls", "failed"),
    [
        ([1618, 1618, 0], 1, 3, ()),
        ([1601, 3010], 1, 2, ()),
        ([1638], 1, 1, ()),
        ([1619], 1, 1, ("agent",)),
        ([1603], 3, 6, ("agent",)),
        ([1603, 1603, 0], 2, 3, ()),
    ],
    ids=str,
)
def test_what_the_installer_says(codes, starts, calls, failed, windows):
    one, told = windows(), list(codes)
    one.says(msiexec=lambda words: 1605 if "/x" in words else told.pop(0) if len(told) > 1 else told[0])
    assert one.starts() == starts
    one.check("done", failed)
    assert one.called("msiexec", "/i") == calls and one.called("msiexec", "/x") == 1
    if failed:
        assert {step.name: step.code for step in one.seen().steps}["agent"] == codes[0]


def test_what_the_uninstaller_leaves_goes_and_what_a_device_uses_stays(windows):
    root, folder = "SYSTEM\\CurrentControlSet\\Services", "Program Files/VMware/VMware Tools"
    infs = {
        f"oem{number}.inf": f"[Version]\r\nProvider=VMware\r\nCatalogFile={name}.cat\r\n[x.Services]\r\nAddService={name},2,x\r\n".encode()
        for number, name in ((2, "vmmouse"), (3, "vmci"))
    }
    one = windows(more={**{f"/c/Windows/inf/{name}": data for name, data in infs.items()}, f"/c/{folder}/vmtoolsd.exe": b"program"})
    drive = one.machine.root.parent
    (drive / folder).mkdir(parents=True, exist_ok=True)
    (drive / folder / "vmtoolsd.exe").write_bytes(b"program")
    (one.machine.root / "inf").mkdir(exist_ok=True)
    for name, data in infs.items():
        (one.machine.root / "inf" / name).write_bytes(data)
    product = f"SOFTWARE\\Microsoft\\Windows\\CurrentVersion\\Uninstall\\{winlab.TOOLS_CODE}"
    one.machine.registry.load(
        {
            product: {"DisplayName": "VMware Tools"},
            f"{root}\\VMTools": {"Start": 4},
            f"{root}\\VMMemCtl\\Parameters": {"x": 1},
            f"{root}\\storflt": {"Start": 3},
            f"{root}\\vmci": {"Start": 0},
            f"{root}\\vmci\\Enum": {"Count": 1},
        }
    )
    told = [1603, 1605]

    def deleted(words: str) -> int:
        name = words.rpartition(" -d ")[2]
        (one.machine.root / "inf" / (name if name in infs else "none")).unlink(missing_ok=True)
        return 0

    one.says(msiexec=lambda words: (told.pop(0) if len(told) > 1 else told[0]) if "/x" in words else 0, pnputil=deleted)
    assert one.starts() == 1
    one.check()
    registry = one.machine.registry
    assert not any(registry.values(key) for key in (product, f"{root}\\VMTools", f"{root}\\VMMemCtl\\Parameters"))
    assert registry.values(f"{root}\\vmci") == {"Start": 0} and registry.values(f"{root}\\storflt") == {"Start": 3}
    assert not (drive / folder).exists() and [path.name for path in (one.machine.root / "inf").iterdir()] == ["oem3.inf"]
    assert any("vmci stays, a device uses vmci" in line for line in one.log()) and one.called("msiexec", "/x") == 2


@pytest.mark.parametrize(("shutdown", "starts"), [(0, 2), (5, 1)])
def test_a_restart_that_a_driver_asks_for(shutdown, starts, windows):
    one = windows()
    one.says(pnputil=lambda words: 3010 if "viostor" in words else 0, shutdown=shutdown)
    assert one.starts() == starts
    one.check()
    assert one.called("pnputil", "viostor") == 1 and one.called("shutdown") == (1 if starts == 2 else 2)


def test_two_phases_set_back_at_the_final_devices(windows):
    one = windows(boot=TWO_PHASE)
    one.machine.registry.load({ENUMERATED: {"0": "SCSI\\Disk&Ven_QEMU&Prod_HARDDISK\\4"}})
    one.start()
    assert one.seen().ready and one.seen().state == "running"
    assert {name for name, state in one.states().items() if state == "waiting"} == {"disks", "settings", "cleanup"}
    one.machine.registry.load({ENUMERATED: {"0": "SCSI\\Disk&Ven_Red_Hat&Prod_VirtIO\\4"}})
    assert one.starts() == 1
    one.check()


def lines_of(text: str) -> list[int]:
    """Where a power cut can come between two lines."""
    lines = text.splitlines()
    return [number for number, line in enumerate(lines) if number > 7 and not line.startswith((":", "rem "))]


@pytest.mark.parametrize("part", [pytest.param(part, marks=pytest.mark.rotates("starts", 60)) for part in range(PARTS)])
def test_a_power_cut_at_every_line(part, windows):
    """Four lines for each life of a guest, the fifth start is left alone: nothing is lost, nothing is given up."""
    one = windows(patient=True)
    places = [(name, number) for name in (startscript.STARTER, startscript.WORK) for number in lines_of(one.texts[name])][part::PARTS]
    for lives in itertools.zip_longest(*[iter(places)] * 4):
        one = windows(patient=True)
        one.says()
        reached = 0
        for name, number in filter(None, lives):
            one.write({name: number})
            one.start()
            reached += one.cut.is_set()
            if one.machine.registry.values(SERVICE)["Start"] == 4:
                break
        one.write({})
        if one.machine.registry.values(SERVICE)["Start"] != 4:
            one.starts()
        one.check()
        assert one.called("netsh") and one.called("msiexec", "/x"), (lives, reached)
