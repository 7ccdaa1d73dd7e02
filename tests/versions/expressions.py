# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that do something where they are taken for templates, by name; {mark} is a command that leaves a file for its field, without a slash."""

from __future__ import annotations

from pathlib import Path

SECRET = "kept-4711-secret"  # the value of a variable that some of them ask for
EXPRESSIONS = {
    "lookup": "{{{{ lookup('pipe', '{mark}') }}}}",
    "query": "a {{{{ query('ansible.builtin.pipe', '{mark}') | first }}}} b",
    "tight": "{{{{lookup('pipe','{mark}')}}}}",
    "default": "{{{{ x | d(lookup('pipe', '{mark}')) }}}}",
    "set": "{{% set x = lookup('pipe', '{mark}') %}}{{{{ x }}}}",
    "for": "{{% for x in query('pipe', '{mark}') %}}{{{{ x }}}}{{% endfor %}}",
    "trim": "{{{{- lookup('pipe', '{mark}') -}}}}",
    "twice": "{{{{ '{{{{' }}}} lookup('pipe', '{mark}') {{{{ '}}}}' }}}}",
    "quoted": "{{{{ \"{{{{ lookup('pipe', '{mark}') }}}}\" }}}}",
    "behind-raw": "{{% raw %}}{{{{{{% endraw %}}{{{{ lookup('pipe', '{mark}') }}}}",
    "raw": "{{% raw %}}{{{{ 7*7 }}}}{{% endraw %}}",
    "raw-open": "{{% raw %}}web01",
    "raw-close": "web01{{% endraw %}}",
    "break-out": "'}}}}{{{{ lookup('pipe', '{mark}') }}}}{{{{ '",
    "break-out-double": "\") }}}}{{{{ lookup('pipe', '{mark}') }}}}{{{{ (\"",
    "argument": "') ~ lookup('pipe', '{mark}') ~ ('",
    "header": "#jinja2: variable_start_string:'<<', variable_end_string:'>>'\n<< lookup('pipe', '{mark}') >> {{{{ 1 }}}}",
    "tag": "!unsafe {{{{ lookup('pipe', '{mark}') }}}}",
    "mark-of-json": "{{\"__ansible_unsafe\": \"{{{{ lookup('pipe', '{mark}') }}}}\"}}",
    "vault-of-json": '{{"__ansible_vault": "$ANSIBLE_VAULT;1.1;AES256\\n6162"}}',
    "vault": "$ANSIBLE_VAULT;1.1;AES256\n61626364",
    "globals": "{{{{ cycler.__init__.__globals__.os.popen('{mark}').read() }}}}",
    "file": "{{{{ lookup('file', '/etc/passwd') }}}}",
    "include": "{{% include '/etc/passwd' %}}",
    "secret": "{{{{ kept_secret }}}}",
    "hostvars": "{{{{ hostvars }}}}",
    "itself": "{{{{ migrate_name }}}}{{{{ vsphere_vm.name }}}}{{{{ item }}}}",
    "undefined": "{{{{ nothing_of_that_name }}}}",
    "sum": "{{{{ 7*7 }}}}",
    "open": "web01 {{{{",
    "close": "}}}} web01",
    "statement-open": "{{% if",
    "comment-open": "{{# web01",
    "comment": "{{# gone #}}web01",
    "shell": "$({mark}) `{mark}` ${{HOME}} ; {mark}",
    "list": "['a', \"b\"]",
    "dictionary": "{{'a': \"b\", 'c': 1}}",
    "literal": "True",
    "percent": "%(name)s %s {{0}} {{name!r}}",
    "yaml": "- &a [*a, !!python/object/apply:os.system ['{mark}']]",
}


class Marked:
    """Makes the text of an expression for a field; what is carried out leaves a file with the names of both in `folder`, which MARKS must name."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder

    def text(self, name: str, field: str) -> str:
        return EXPRESSIONS[name].format(mark=f"cd $MARKS && touch {name}.{field}")

    def carried_out(self) -> list[str]:
        return sorted(path.name for path in self._folder.iterdir())
