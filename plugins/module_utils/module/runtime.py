# SPDX-License-Identifier: GPL-3.0-or-later
"""How a module runs: under the interpreter that has its libraries, to an answer of Ansible or to its end."""

from __future__ import annotations

import copy
import importlib
import os
import signal
import threading
import time
from types import MappingProxyType
from typing import Any, Callable, Iterator, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import remove_values
from ansible.module_utils.common.respawn import has_respawned, probe_interpreters_for_module, respawn_module
from ansible.module_utils.common.validation import check_type_str

from ..core import urls
from ..core.bounded import bounded
from ..core.errors import InvalidInput, MigrationError, OutOfResources, of_system
from ..core.watch import lives
from ..guest import diffs

Result = dict[str, Any]
INTERPRETERS = ("/usr/bin/python3", "/usr/libexec/platform-python", "/usr/local/bin/python3")
_PLACES = ("name", "work_dir", "dest", "report_dir", "results", "source", "disks", "devices", "description")
_READ = ("disks", "vm", "facts", "path", "plan_file", "report")  # what later stages have of a result
_GIVE_BACK = 600.0  # seconds
LONGEST = 14000  # bytes of a result for one VM; with its warnings and what the module was asked it stays below 20 kB
_OF_VMS = frozenset(("vms", "items"))


class _Path(str):
    """Ansible's type `path` without variables: a path may hold a name from outside, and `$` in it is a letter. Equal to "path", which documentation says."""

    __name__ = "path"

    def __call__(self, value: Any) -> str:
        if isinstance(value, (bool, list, dict)):
            raise TypeError(f"a path is one text, and not {value!r}")
        text = str(check_type_str(value))
        if any(ord(letter) < 32 for letter in text):
            raise TypeError(f"{text!r} holds control characters, which a path must not have")
        return os.path.expanduser(text)


def _discreet() -> Any:
    """AnsibleModule, which echoes what it was asked only once that was `looked_through`: what has the wrong type may hold a secret that it knows nothing of."""

    class Discreet(AnsibleModule):
        looked_through = False
        given: frozenset[str] = frozenset()

        def _load_params(self) -> None:
            super()._load_params()
            self.given = frozenset(self.params)  # before Ansible puts what an alias has under the option's own name

        def fail_json(self, msg: Any, **more: Any) -> None:
            if not self.looked_through:
                more["invocation"] = {"module_args": dict.fromkeys(self.params, "VALUE_NOT_SHOWN_SINCE_AN_ARGUMENT_IS_WRONG")}
            super().fail_json(msg=msg, **more)

    return Discreet


def module_for(spec: Mapping[str, Any], forms: urls.Forms = MappingProxyType({}), **constraints: Any) -> AnsibleModule:
    """An AnsibleModule with check mode. `progress_file`, `probe`, `watched` and `watch_pid` are for the action plugin of the same name.

    In paths `~` is expanded, and nothing else. Logins in sources, which are refused, are not echoed either; `forms`: what is none.
    """
    module: AnsibleModule = _discreet()(argument_spec=_without_variables(spec), supports_check_mode=True, **constraints)
    _require_one_name(module, spec)
    _require_legible(module, {name: module.params[name] for name in _PLACES if name in module.params})
    named = module.params.get("source") or ()
    module.no_log_values.update(urls.hidden([str(source) for source in ([named] if isinstance(named, str) else named)], forms))
    module.looked_through = True
    return module


def _require_one_name(module: AnsibleModule, spec: Mapping[str, Any]) -> None:
    """Fail where an option is given by two of its names: Ansible only warns, and takes one of them."""
    for name, option in spec.items():
        both = [one for one in (name, *option.get("aliases", ())) if one in module.given]
        if len(both) > 1:
            _fail(module, InvalidInput(f"{' and '.join(both)} are names of one option, and both are given.", f"Give {name} alone."))


def _without_variables(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A spec of its own for each module: Ansible fills in defaults that are dictionaries, and several modules may share them."""
    return {
        name: {
            key: _without_variables(value)
            if key == "options"
            else _Path(value)
            if key in ("type", "elements") and value == "path"
            else copy.deepcopy(value)
            for key, value in option.items()
        }
        for name, option in spec.items()
    }


def run(module: AnsibleModule, work: Callable[[AnsibleModule], Result]) -> None:
    """Run the work of a module; errors of the collection become its failure, anything else is a defect and stays a traceback."""
    watched = module.params.get("watched") or [str(pid) for pid in (module.params.get("watch_pid"),) if pid]
    if watched:
        threading.Thread(target=_end_with, args=(watched,), daemon=True).start()
    try:
        result = work(module)
    except MigrationError as error:
        _fail(module, error)
    except OSError as error:
        _fail(module, of_system(error))
    except MemoryError:
        module.fail_json(
            **OutOfResources(
                "There is not enough memory.", "Free memory of the host, or run fewer VMs at once; then run again."
            ).as_result()
        )
    _require_legible(module, {name: result[name] for name in _READ if name in result})
    answer = within(remove_values(result, module.no_log_values))
    _shorten_echo(module)
    module.exit_json(**answer)


def _require_legible(module: AnsibleModule, values: Mapping[str, Any]) -> None:
    """Fail where a secret is part of what later stages read, since Ansible puts asterisks in its place there."""
    for name, value in values.items():
        if any(secret in text for text in _texts(value) for secret in module.no_log_values if secret):
            _fail(
                module,
                InvalidInput(
                    f"A password or passphrase that was given is part of {name}, where Ansible hides it from the stages that follow.",
                    "Give a longer one that occurs in no name or path, or other names and paths.",
                ),
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def within(result: Result) -> Result:
    """A result that is not longer than it may be. Diffs, and a plan that was asked for, have limits of their own; each of several VMs has the whole one."""
    apart: Result = {key: result[key] for key in ("diff", "plan") if key in result}
    if isinstance(apart.get("diff"), dict):
        apart["diff"] = {side: diffs.cut([text])[0] for side, text in apart["diff"].items()}
    for key in _OF_VMS & result.keys():
        apart[key] = [bounded(vm, LONGEST) if isinstance(vm, dict) else vm for vm in result[key]]
    return {**bounded({key: value for key, value in result.items() if key not in apart}, LONGEST), **apart}


def _fail(module: AnsibleModule, error: MigrationError) -> None:
    said = remove_values(error.as_result(), module.no_log_values)
    _shorten_echo(module)
    texts = {"msg": said["msg"][: LONGEST // 2], "hint": said["hint"][: LONGEST // 4]}
    module.fail_json(**{**said, **texts, "details": bounded(said["details"], LONGEST // 3)})


def _shorten_echo(module: AnsibleModule) -> None:
    """Ansible answers with what it was asked, too."""
    module.params = bounded(remove_values(module.params, module.no_log_values), LONGEST // 4)


def _end_with(watched: Sequence[str]) -> None:
    """End this process as soon as one of `watched` is gone, as if it had been killed too: its children die with it, its results are not published."""
    while all(map(lives, watched)):
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGTERM)  # whoever has something to give back elsewhere catches it
    time.sleep(_GIVE_BACK)
    os._exit(1)


def give_back_when_ended() -> None:
    """SIGTERM ends the process as an exception does, so that a snapshot or a lease is given back first."""

    def end(*dummy: Any) -> None:
        raise SystemExit(1)

    signal.signal(signal.SIGTERM, end)


def respawn_for(*libraries: str) -> None:
    """Go on under an interpreter that has all of these libraries, if this one has not; what needs one reports it when none has."""
    missing = [library for library in libraries if not _importable(library)]
    if missing and not has_respawned():
        interpreter = probe_interpreters_for_module(INTERPRETERS, ", ".join(libraries))
        interpreter = interpreter or probe_interpreters_for_module(INTERPRETERS, missing[0])
        if interpreter is not None:
            respawn_module(interpreter)


def _importable(library: str) -> bool:
    try:
        importlib.import_module(library)
    except ImportError:
        return False
    return True
