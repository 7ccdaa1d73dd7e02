# SPDX-License-Identifier: GPL-3.0-or-later
"""The action behind every module that works on a VM: say which run it belongs to; of a long one also show its progress as lines, and return its result.

On the controller itself the module runs beside the display; on another conversion host it is started detached (like async), so that it
survives a lost connection, and its progress file is fetched now and then.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import threading
import time
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Busy
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.memory import Run, name_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.watch import lives, mark

display = Display()

NOT_THERE = "conversion_host_unreachable"
_LIMIT = 7 * 24 * 3600  # seconds a detached job may run
_STEP = 10.0  # percent between two lines of a phase
_EVERY = 30.0  # seconds after which a line comes anyway
_FORGIVEN = 30  # lost connections in a row while polling


def _controller() -> int:
    """The process that runs the playbook: that of the fork, also when it is gone by now."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and parent.pid else os.getppid()


class HostAction(ActionBase):
    """Shared by one stub per module that only looks: a conversion host that cannot be reached fails its task, and the play goes on to its summary."""

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        del tmp
        try:
            done = self._answer(dict(self._task.args), task_vars)
        except AnsibleConnectionFailure as error:
            if self._task.delegate_to is None:
                raise
            done = self._not_there(error)
        return {**result, **done}

    def _answer(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._carry_out(arguments, task_vars)

    def _not_there(self, error: AnsibleConnectionFailure) -> dict[str, Any]:
        """A failure, which a rescue sees: it is not the VM, whose task this is, that cannot be reached."""
        hint = f"See whether it runs, and how Ansible reaches it (ansible {self._task.delegate_to} -m ping); then run again."
        msg = f"The conversion host {self._task.delegate_to} cannot be reached: {str(error).strip().rstrip('.')}. {hint}"
        return {"failed": True, "changed": False, "msg": msg, "error_code": NOT_THERE, "hint": hint}

    def _carry_out(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        return self._execute_module(module_args=arguments, task_vars=task_vars, wrap_async=bool(self._task.async_val))


class RunAction(HostAction):
    """Shared by one stub per short module: the module is told which run it belongs to."""

    def _answer(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        variables = task_vars or {}
        job = variables.get("awx_job_id") or variables.get("tower_job_id") or ""
        run = Run.of(_controller(), str(variables.get("inventory_hostname", "")), str(job)).as_data()
        done = self._carry_out({**arguments, "run": run}, task_vars)
        dead = self._known_dead(done)
        return self._carry_out({**arguments, "run": {**run, "known_dead": dead}}, task_vars) if dead else done

    @staticmethod
    def _known_dead(done: dict[str, Any]) -> str:
        """The run that a conversion host waits for in vain: of a process of this controller only this controller knows that it has ended."""
        holder = (done.get("details") or {}).get("holder") if done.get("error_code") == Busy.code else None
        if not isinstance(holder, dict):
            return ""
        first = Run.from_data(holder)
        return name_of(first) if first.gone() else ""


class ProgressAction(RunAction):
    """Shared by one stub per long module."""

    def _carry_out(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        if self._task.check_mode or self._task.async_val:
            return super()._carry_out(arguments, task_vars)
        if self._connection.transport == "local":
            return self._beside(arguments, task_vars)
        done = self._execute_module(module_args={**arguments, "probe": True}, task_vars=task_vars)
        return self._detached(arguments, task_vars) if done.get("pending") else done

    def _beside(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        # A worker is in a session of its own, so what kills the run does not reach it; worker and module watch the run instead, and the module the worker.
        run = mark(_controller())
        arguments = {**arguments, "watched": [run, mark(os.getpid())]}
        with tempfile.TemporaryDirectory(prefix="hyper2kvm-progress-") as scratch:
            path = os.path.join(scratch, "progress.json")
            answer: list[Any] = []

            def work() -> None:
                try:
                    answer.append(self._execute_module(module_args={**arguments, "progress_file": path}, task_vars=task_vars))
                except Exception as error:  # carried over to the thread that waits
                    answer.append(error)

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            lines = Lines(self._name(task_vars))
            while thread.is_alive():
                if not lives(run):
                    raise AnsibleError("The run has ended.")
                thread.join(0.3)
                try:
                    with open(path, encoding="utf-8") as file:
                        lines.show(json.load(file))
                except (OSError, ValueError):
                    pass
        if isinstance(answer[0], Exception):
            raise answer[0]
        return answer[0]

    def _detached(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        path = self._connection._shell.join_path(self._make_tmp_path(), "progress.json")
        self._task.async_val = _LIMIT
        try:
            job = self._execute_module(module_args={**arguments, "progress_file": path}, task_vars=task_vars, wrap_async=True)
        finally:
            self._task.async_val = 0
        if "ansible_job_id" not in job:
            return job
        lines, pause, lost = Lines(self._name(task_vars)), 1.0, 0
        while True:
            time.sleep(pause)
            pause = min(pause * 1.5, 15.0)
            try:
                state = self._status(job["ansible_job_id"], "status", task_vars)
                lost = 0
            except AnsibleConnectionFailure as error:
                lost += 1
                if lost > _FORGIVEN:
                    raise AnsibleError(
                        f"The conversion host stopped answering; the job {job['ansible_job_id']} goes on there, and the next run joins it."
                    ) from error
                continue
            if state.get("finished"):
                break
            shown = self._low_level_execute_command(f"cat {self._connection._shell.quote(path)} 2>/dev/null")
            try:
                lines.show(json.loads(shown.get("stdout") or "{}"))
            except ValueError:
                pass
        self._status(job["ansible_job_id"], "cleanup", task_vars)
        return {key: value for key, value in state.items() if key not in ("ansible_job_id", "finished", "started", "results_file")}

    def _status(self, job: str, mode: str, task_vars: dict[str, Any] | None) -> dict[str, Any]:
        directory = self.get_shell_option("async_dir", default="~/.ansible_async")
        return self._execute_module(
            module_name="ansible.legacy.async_status", module_args={"jid": job, "mode": mode, "_async_dir": directory}, task_vars=task_vars
        )

    def _name(self, task_vars: dict[str, Any] | None) -> str:
        name = (task_vars or {}).get("inventory_hostname", "localhost")
        return f"[{name}] {self._task.action.rsplit('.', 1)[-1]}"


class Lines:
    """Turns progress records into lines worth showing: a new phase, enough percent, or enough time."""

    def __init__(self, head: str) -> None:
        self._head, self._phase, self._percent, self._shown = head, "", 0.0, 0.0

    def show(self, record: dict[str, Any]) -> None:
        phase, total = record.get("phase", ""), record.get("total") or 0
        percent = 100.0 * record.get("done", 0) / total if total else 0.0
        now = time.monotonic()
        if not phase or (phase == self._phase and percent - self._percent < _STEP and now - self._shown < _EVERY):
            return
        self._phase, self._percent, self._shown = phase, percent, now
        display.display(" ".join(filter(None, [self._head, phase, *self._numbers(record, total, percent)])))

    @staticmethod
    def _numbers(record: dict[str, Any], total: int, percent: float) -> list[str]:
        if not total:
            return []
        words = [f"{percent:.0f}%", f"{record.get('done', 0) >> 20}/{total >> 20} MiB"]
        if record.get("rate"):
            words += [f"{record['rate'] / (1 << 20):.0f} MiB/s", f"{record.get('eta') or 0:.0f} s left"]
        return words
