# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of Azure: azure://SUBSCRIPTION/RESOURCE-GROUP/VM."""

from __future__ import annotations

from ..transport.azure import Azure
from .cloud import CloudSource
from .source import Source

SOURCE: Source = CloudSource("azure", "azure://SUBSCRIPTION/RESOURCE-GROUP/VM", 3, Azure)
