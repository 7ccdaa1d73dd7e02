# SPDX-License-Identifier: GPL-3.0-or-later
"""How much is believed of what comes from outside: every limit in one place, in bytes or as counts. docs/security.md has them as a table.

Each is far above what honest input needs. Together they keep a reader below 512 MiB of memory, whatever it is given.
"""

from __future__ import annotations

KIB, MIB, GIB, TIB = 1 << 10, 1 << 20, 1 << 30, 1 << 40

# Descriptions of VMs, and small files beside them.
DESCRIPTION = 4 * MIB  # .ovf, .mf, .vbox
VMX = 1 * MIB
XML_ELEMENTS, XML_DEPTH = 100_000, 100
VM_CPUS, VM_MEMORY = 8192, 64 * TIB  # vSphere allows 960 and 24 TiB
VM_DISKS = 1024  # vSphere allows 256 on each kind of controllers
MANIFEST = 64 * MIB  # our own records, which may lie where others write
PICTURE = 64 * MIB  # of a screen
PLAN = 256 * MIB  # it has files of a guest in it

# Archives.
MEMBERS = 10_000
MEMBER_DEPTH = 64  # directories
NESTED = 3  # archives in archives
TAR_HEADER = 32 * KIB  # one extended header: a PAX record or a long name
TAR_HEADERS = 4 * MIB  # of one member; maps of sparse files are large
TAR_ALL_HEADERS = 24 * MIB
ZIP_DIRECTORY = 4 * MIB
DICTIONARY = 192 * MIB  # of xz; xz -9 needs 65 MiB
UNPACKED = 64 * TIB
UNPACKED_FREE, UNPACKED_RATIO = 64 * GIB, 8192  # unpacked to more than the one and more than so many times the archive: a bomb

# Disk images.
VHD_TABLE = 16 * MIB  # held in memory; 2 TiB in blocks of 2 MiB have one of 4 MiB
QCOW2_TABLE = 32 * MIB  # the first level; qemu's own limit
QCOW2_SNAPSHOTS = 1024  # inside the image; qemu reads all of them at each start
VDI_SIZE = 64 * TIB
VMDK_SECTORS = 1 << 37  # 64 TiB; vSphere allows 62; also what a blank disk has at most

# Guests.
GUEST_FILE = 256 * MIB  # the largest that a repair reads: an initramfs, a hive
GUEST_TEXT = 32 * MIB  # of a text, which takes several times as much while it is worked on; a long dpkg status has 10
GUEST_KEPT = 64 * MIB  # of what was read, for the next who asks
GUEST_READ = 16 * GIB  # in one session
GUEST_DIRECTORY = 16 * MIB  # bytes of a directory itself
GUEST_NAMES = 2_000_000  # in all listings of a session
YAML, YAML_FILES = 256 * KIB, 1 * MIB  # of one file, and of all together
XML_FILES = 1 * MIB  # of wicked's profiles together
YAML_SPELT = 4 * MIB  # characters and nodes of a file with each alias spelt out
HIVE, HIVE_LOG = 160 * MIB, 48 * MIB
HIVE_KEYS = 20_000_000  # looked at in one hive, each time anew
HIVE_PATHS = 96 * MIB  # characters of the paths of all keys

# Servers.
ANSWER = 64 * MIB
HEADERS = 256 * KIB

# Drop folders.
ENTRY_FILES = 10_000
